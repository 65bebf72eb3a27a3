module github.com/sluice-flags/sluice/sdk/go

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/gorilla/websocket v1.5.3
	github.com/open-feature/go-sdk v1.20.0
	github.com/sluice-flags/sluice/pkg v0.0.0
	go.uber.org/goleak v1.3.0
)

require go.uber.org/mock v0.6.0 // indirect

replace github.com/sluice-flags/sluice/pkg => ../../pkg
