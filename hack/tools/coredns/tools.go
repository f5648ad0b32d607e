//go:build tools

// Package tools pins the CoreDNS that `make cluster` and the tests run.
package tools

import _ "github.com/coredns/coredns"
