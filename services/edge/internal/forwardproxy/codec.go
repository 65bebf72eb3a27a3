package forwardproxy

import (
	"errors"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// A request is a ConfigSpecRequest of forward_proxy.proto, as far as it matters
// here. What could not be read is told by the handler: a codec can only say that
// something went wrong inside.
type request struct {
	key       string
	since     uint64
	version   uint64
	malformed error
}

// A response is a ConfigSpecResponse. Its body belongs to the download that it
// was made for: all streams of a scope send the same bytes.
type response struct {
	body []byte
	time int64
}

// Numbers of the fields in forward_proxy.proto.
const (
	fieldKey     = 1
	fieldVersion = 3
	fieldSince   = 12

	fieldSpec        = 1
	fieldLastUpdated = 2
)

// codec writes and reads the two messages. Generated code would copy the body,
// often a megabyte, for every stream that it is sent to.
type codec struct{}

// Name implements [encoding.CodecV2]: the bytes are those of protocol buffers.
func (codec) Name() string { return "proto" }

// Marshal implements [encoding.CodecV2].
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(response)
	if !ok {
		return nil, errors.New("not a response of this service")
	}
	head := protowire.AppendTag(nil, fieldSpec, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(r.body)))
	tail := protowire.AppendTag(nil, fieldLastUpdated, protowire.VarintType)
	tail = protowire.AppendVarint(tail, uint64(r.time))
	return mem.BufferSlice{mem.SliceBuffer(head), mem.SliceBuffer(r.body), mem.SliceBuffer(tail)}, nil
}

// Unmarshal implements [encoding.CodecV2].
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*request)
	if !ok {
		return errors.New("not a request of this service")
	}
	*r = readRequest(data.Materialize())
	return nil
}

// readRequest reads a request; fields that it does not know are left out, and of
// one that comes twice the last counts.
func readRequest(b []byte) request {
	var r request
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return request{malformed: protowire.ParseError(n)}
		}
		b = b[n:]
		switch {
		case field == fieldKey && kind == protowire.BytesType:
			var key []byte
			key, n = protowire.ConsumeBytes(b)
			r.key = string(key)
		case field == fieldVersion && kind == protowire.VarintType:
			r.version, n = protowire.ConsumeVarint(b)
		case field == fieldSince && kind == protowire.VarintType:
			r.since, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return request{malformed: protowire.ParseError(n)}
		}
		b = b[n:]
	}
	return r
}
