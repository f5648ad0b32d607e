"""A real Kubernetes as plain processes of this machine: what `make cluster` starts and what the tests run against.

tools, pki          programs and certificates
processes           components with a log, which die with the process that started them
plane, rest         etcd, API server, controller manager, scheduler; requests to them
api                 a control plane without a node, on loopback
node                containerd, kubelet, kube-proxy
addons, volumes     DNS, the StorageClass and what is behind it
network, mounts, cgroups, linux   what a cluster has of the kernel
inside, supervisor  the first process of a cluster's namespaces, and the one outside them
cluster, layout     what its users hold, and its names and addresses
archives, base, images, pip       container images without a registry
"""
