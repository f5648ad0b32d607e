module umbel.dev/hack/tools/gateway-api

go 1.24.0

// Nothing of it is built: the CustomResourceDefinitions of its standard channel are what a job behind a Gateway is tried against.
require sigs.k8s.io/gateway-api v1.5.0
