"""A real Kubernetes as plain processes of this machine: what `make cluster` starts and what the tests run against.

tools, pki     programs and certificates
processes      components with a log, which die with the process that started them
plane          etcd, API server, controller manager, scheduler
api            a control plane without a node, on loopback
node           containerd, kubelet, kube-proxy, DNS, volumes
supervisor     one whole cluster in namespaces of its own; cluster.py speaks to it
"""
