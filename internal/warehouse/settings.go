package warehouse

import "github.com/sluice-flags/sluice/internal/config"

// Settings are the flags with which a program is told where ClickHouse is; embed
// them with the prefix "clickhouse-".
type Settings struct {
	Addr     string        `help:"Addresses of ClickHouse's native protocol, separated by commas." env:"SLUICE_CLICKHOUSE_ADDR,CLICKHOUSE_ADDR" placeholder:"HOST:PORT"`
	User     string        `help:"User of ClickHouse." default:"sluice"`
	Password config.Secret `help:"Password of that user; @FILE reads it from a file." placeholder:"TEXT"`
	Database string        `help:"Database of the facts." default:"sluice"`
	Cluster  string        `help:"Cluster of ClickHouse, as its servers call it: tables are then replicated, and spread over its shards." placeholder:"NAME"`
	TLS      bool          `help:"Speak TLS with ClickHouse."`
}

// Config is what the settings mean.
func (s Settings) Config() Config {
	return Config{Addr: s.Addr, User: s.User, Password: s.Password.Reveal(), Database: s.Database, Cluster: s.Cluster, TLS: s.TLS}
}
