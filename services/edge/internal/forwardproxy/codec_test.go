package forwardproxy

import (
	"context"
	_ "embed"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

//go:embed forward_proxy.proto
var protoSource string

// compiled is forward_proxy.proto.
func compiled(t *testing.T) protoreflect.FileDescriptor {
	t.Helper()
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"forward_proxy.proto": protoSource}),
	}}
	files, err := compiler.Compile(context.Background(), "forward_proxy.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0]
}

func message(t *testing.T, name protoreflect.Name) (*dynamicpb.Message, func(protoreflect.Name) protoreflect.FieldDescriptor) {
	t.Helper()
	d := compiled(t).Messages().ByName(name)
	return dynamicpb.NewMessage(d), d.Fields().ByName
}

func TestServiceIsTheOneOfTheProtoFile(t *testing.T) {
	file := compiled(t)
	s := file.Services().ByName("StatsigForwardProxy")
	if got := string(s.FullName()); got != service.ServiceName {
		t.Errorf("service %q; the file has %q", service.ServiceName, got)
	}
	unary, stream := s.Methods().ByName("getConfigSpec"), s.Methods().ByName("StreamConfigSpec")
	if unary == nil || unary.IsStreamingServer() || service.Methods[0].MethodName != string(unary.Name()) {
		t.Errorf("methods %+v; the file has %v", service.Methods, unary)
	}
	if stream == nil || !stream.IsStreamingServer() || service.Streams[0].StreamName != string(stream.Name()) {
		t.Errorf("streams %+v; the file has %v", service.Streams, stream)
	}
}

func TestRequestsReadAsTheProtoFileSays(t *testing.T) {
	m, field := message(t, "ConfigSpecRequest")
	m.Set(field("sdkKey"), protoreflect.ValueOfString("secret-shop-1"))
	m.Set(field("sinceTime"), protoreflect.ValueOfUint64(1_764_000_000_000))
	m.Set(field("version"), protoreflect.ValueOfEnum(versionTwo))
	m.Set(field("zstdDictId"), protoreflect.ValueOfString("some dictionary"))
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	b = protowire.AppendTag(b, 99, protowire.BytesType) // of a version to come
	b = protowire.AppendString(b, "something else")

	want := request{key: "secret-shop-1", since: 1_764_000_000_000, version: versionTwo}
	if got := readRequest(b); got != want {
		t.Errorf("readRequest() = %+v; want %+v", got, want)
	}
	for n := range b {
		if got := readRequest(b[:n]); got.malformed != nil && got.key != "" {
			t.Errorf("readRequest(first %d bytes) = %+v; want nothing but the fault", n, got)
		}
	}
}

func TestResponsesAreWrittenAsTheProtoFileSays(t *testing.T) {
	for _, r := range []response{{[]byte(`{"has_updates":true,"ü":"…"}`), 1_764_000_000_000}, {nil, 0}} {
		out, err := codec{}.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		m, field := message(t, "ConfigSpecResponse")
		if err := proto.Unmarshal(out.Materialize(), m); err != nil {
			t.Fatalf("the file's reader: %v", err)
		}
		spec, updated := m.Get(field("spec")).String(), m.Get(field("lastUpdated")).Uint()
		if spec != string(r.body) || updated != uint64(r.time) {
			t.Errorf("%+v reads as %q at %d", r, spec, updated)
		}
	}
}

func TestBodyIsNotCopiedForAStream(t *testing.T) {
	body := make([]byte, 1<<20)
	var out mem.BufferSlice
	const most = 8 // header, trailer and the slice that joins them, in steps of append
	if got := testing.AllocsPerRun(100, func() { out, _ = codec{}.Marshal(response{body, 1}) }); got > most {
		t.Errorf("Marshal() allocates %v times; want at most %d", got, most)
	}
	if &out[1].ReadOnlyData()[0] != &body[0] {
		t.Error("Marshal() copied the body")
	}
}

func FuzzReadRequest(f *testing.F) {
	f.Add([]byte("\x0a\x03key\x18\x02\x60\x01"))
	f.Add([]byte("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r := readRequest(b); r.malformed != nil && (r.key != "" || r.since != 0) {
			t.Errorf("readRequest(%q) = %+v; want nothing but the fault", b, r)
		}
	})
}
