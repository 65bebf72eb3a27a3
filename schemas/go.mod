module github.com/sluice-flags/sluice/schemas

go 1.26
