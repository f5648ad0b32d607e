module umbel.dev/hack/tools/pause

go 1.21
