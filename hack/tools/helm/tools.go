//go:build tools

// Package tools pins the Helm that installs the charts in the tests.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
