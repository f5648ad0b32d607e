module umbel.dev/hack/tools/prometheus-operator

go 1.24.0

// Nothing of it is built: its CustomResourceDefinitions are what the charts' monitors and rules are tried against.
require github.com/prometheus-operator/prometheus-operator v0.85.0
