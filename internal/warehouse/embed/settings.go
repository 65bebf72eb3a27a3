package embed

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
)

const user = "sluice"

// analyst is the user of people who ask questions: see [Engine.Analyst].
const analyst = "analyst"

// settings are of one start of the engine. The parent writes the files and
// sends the rest to the child through its standard input, so that the password
// stands in no argument list, no environment and, but for its hash, no file.
type settings struct {
	Library  string
	Dir      string
	Host     string
	TCPPort  int
	HTTPPort int
	Password string
	Analyst  string // the analyst's password
	memory   int64
}

func newSettings(o Options) (*settings, error) {
	host := loopback()
	ports, err := freePorts(host, 2)
	if err != nil {
		return nil, err
	}
	return &settings{
		Library: o.Library, Dir: o.Dir, Host: host, TCPPort: ports[0], HTTPPort: ports[1],
		Password: cmp.Or(o.Password, rand.Text()), Analyst: cmp.Or(o.AnalystPassword, rand.Text()), memory: o.MemoryLimit,
	}, nil
}

func (s *settings) tcpAddr() string    { return net.JoinHostPort(s.Host, strconv.Itoa(s.TCPPort)) }
func (s *settings) httpAddr() string   { return net.JoinHostPort(s.Host, strconv.Itoa(s.HTTPPort)) }
func (s *settings) configFile() string { return filepath.Join(s.Dir, "config.xml") }
func (s *settings) usersFile() string  { return filepath.Join(s.Dir, "users.xml") }
func (s *settings) logFile() string    { return filepath.Join(s.Dir, "engine.log") }
func (s *settings) outputFile() string { return filepath.Join(s.Dir, "engine.out") }

func (s *settings) config() warehouse.Config {
	return warehouse.Config{Addr: s.tcpAddr(), User: user, Password: s.Password, Database: warehouse.DefaultDatabase}
}

// forAnalysts is the configuration of the read-only user.
func (s *settings) forAnalysts() warehouse.Config {
	return warehouse.Config{Addr: s.tcpAddr(), User: analyst, Password: s.Analyst, Database: warehouse.DefaultDatabase}
}

func (s *settings) send(w io.Writer) error    { return json.NewEncoder(w).Encode(s) }
func (s *settings) receive(r io.Reader) error { return json.NewDecoder(r).Decode(s) }

// errPortTaken tells a port that somebody else took from everything else that can go wrong.
var errPortTaken = errors.New("a port that was free is taken")

// failure explains a child that ended, by what it wrote last and ended with.
func (s *settings) failure(end *os.ProcessState) error {
	said := lastLine(s.outputFile())
	if strings.Contains(said, "NETWORK_ERROR") || strings.Contains(said, "Address already in use") {
		return errPortTaken
	}
	err := fmt.Errorf("the engine ended at once; it said: %s (more in %s and %s)", said, s.outputFile(), s.logFile())
	if code := end.ExitCode(); code == exitNotLoaded || code == exitNoLibrary {
		return notLoaded{err}
	}
	return err
}

// arguments are those of the engine's command line.
//
// The engine serves only while a statement of its own runs. Ours sleeps for
// ever, and needs no right but to count: what reads standard input instead
// would need the right to read files, which everybody on the machine would
// then have through the engine.
func (s *settings) arguments() []string {
	return []string{
		"clickhouse",
		"--path=" + filepath.Join(s.Dir, "data"),
		"--config-file=" + s.configFile(),
		"--logger.log=" + s.logFile(),
		"--log-level=warning",
		"--listen_host=" + s.Host,
		"--tcp_port=" + strconv.Itoa(s.TCPPort),
		"--http_port=" + strconv.Itoa(s.HTTPPort),
		"--query=SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; " + // so that who gets an answer over TCP gets one over HTTP
			"SELECT sleepEachRow(1) FROM system.numbers SETTINGS max_block_size = 1, max_threads = 1 FORMAT Null",
	}
}

// stopStatement ends that statement, and the engine with it. The engine's own
// session is the one without a user's name.
const stopStatement = "KILL QUERY WHERE user = '' SYNC"

// write puts the two configuration files in place. They are read once, at the
// start, and belong to that start alone.
func (s *settings) write() error {
	hash, analyst := sha256.Sum256([]byte(s.Password)), sha256.Sum256([]byte(s.Analyst))
	files := map[string]string{
		s.configFile(): fmt.Sprintf(configXML, escape(s.usersFile()), s.memory),
		s.usersFile():  fmt.Sprintf(usersXML, hex.EncodeToString(hash[:]), hex.EncodeToString(analyst[:])),
	}
	for name, text := range files {
		// Removed first, since the mode given here is only that of a new file.
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder never fails
	return b.String()
}

const configXML = `<clickhouse>
	<users_config>%s</users_config>
	<timezone>Etc/UTC</timezone>
	<max_server_memory_usage>%d</max_server_memory_usage>
	<max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
	<mark_cache_size>268435456</mark_cache_size>
	<access_control_improvements>
		<select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>
	</access_control_improvements>
	<logger>
		<size>10M</size>
		<count>2</count>
	</logger>
</clickhouse>
`

// The engine's own session always logs in as default without a password, so
// that user has to stay, and everybody on this machine can be it. It may do what
// that session does and nothing else. The analyst may read the facts and what is
// made of them, within limits that it may lower but not lift.
const usersXML = `<clickhouse>
	<profiles>
		<default>
			<async_insert>0</async_insert>
		</default>
		<analyst>
			<readonly>2</readonly>
			<allow_ddl>0</allow_ddl>
			<final>1</final>
			<distributed_product_mode>global</distributed_product_mode>
			<max_memory_usage>1073741824</max_memory_usage>
			<max_execution_time>60</max_execution_time>
			<max_result_rows>1000000</max_result_rows>
			<max_rows_to_read>10000000000</max_rows_to_read>
			<max_concurrent_queries_for_user>8</max_concurrent_queries_for_user>
			<constraints>
				<allow_ddl><readonly/></allow_ddl>
				<max_memory_usage><min>1</min><max>1073741824</max></max_memory_usage>
				<max_execution_time><min>1</min><max>60</max></max_execution_time>
				<max_result_rows><min>1</min><max>1000000</max></max_result_rows>
				<max_rows_to_read><min>1</min><max>10000000000</max></max_rows_to_read>
				<max_concurrent_queries_for_user><readonly/></max_concurrent_queries_for_user>
			</constraints>
		</analyst>
	</profiles>
	<quotas>
		<default/>
	</quotas>
	<users>
		<default>
			<password/>
			<networks><ip>127.0.0.1</ip></networks>
			<profile>default</profile>
			<quota>default</quota>
			<grants>
				<query>GRANT SYSTEM LISTEN ON *.*</query>
				<query>GRANT SELECT ON system.numbers</query>
			</grants>
		</default>
		<` + user + `>
			<password_sha256_hex>%s</password_sha256_hex>
			<networks><ip>127.0.0.0/8</ip></networks>
			<profile>default</profile>
			<quota>default</quota>
			<grants>
				<query>GRANT ALL ON ` + warehouse.DefaultDatabase + `.*</query>
				<query>GRANT SELECT ON system.*</query>
				<query>GRANT TABLE ENGINE ON *</query>
				<query>GRANT CREATE TEMPORARY TABLE ON *.*</query>
				<query>GRANT KILL QUERY ON *.*</query>
				<query>GRANT SYSTEM FLUSH LOGS ON *.*</query>
			</grants>
		</` + user + `>
		<` + analyst + `>
			<password_sha256_hex>%s</password_sha256_hex>
			<networks><ip>127.0.0.0/8</ip></networks>
			<profile>analyst</profile>
			<quota>default</quota>
			<grants>
				<query>GRANT SELECT ON ` + warehouse.DefaultDatabase + `.*</query>
				<query>GRANT SELECT ON system.databases</query>
				<query>GRANT SELECT ON system.tables</query>
				<query>GRANT SELECT ON system.columns</query>
			</grants>
		</` + analyst + `>
	</users>
</clickhouse>
`

// loopback chooses an address of this machine that only this machine reaches.
// Linux has sixteen million of them, other systems one.
func loopback() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	var b [3]byte
	rand.Read(b[:])                                                   // never fails
	return net.IPv4(127, b[0]|0x40, b[1], max(b[2], 1)&0xfe).String() // neither 127.0.0.x nor a broadcast address
}

// freePorts chooses n ports of host that nobody listens on, all different.
func freePorts(host string, n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp4", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		defer l.Close() // not before all are chosen
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// execute runs one statement on a connection of its own, outside any database.
func execute(ctx context.Context, c warehouse.Config, statement string) error {
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr:         []string{c.Addr},
		Auth:         clickhouse.Auth{Username: c.User, Password: c.Password},
		MaxOpenConns: 1,
		// Who took a port of ours might accept and say nothing. Not shorter, since
		// leaving a slow engine in its greeting would end it.
		DialTimeout: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Exec(ctx, statement)
}
