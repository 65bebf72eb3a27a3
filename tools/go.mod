module github.com/sluice-flags/sluice/tools

go 1.26
