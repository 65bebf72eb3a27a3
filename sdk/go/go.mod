module github.com/sluice-flags/sluice/sdk/go

go 1.26
