package forwardproxy

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// service is the service of forward_proxy.proto.
var service = grpc.ServiceDesc{
	ServiceName: "statsig_forward_proxy.StatsigForwardProxy",
	HandlerType: (*any)(nil),
	Metadata:    "forward_proxy.proto",
	Methods: []grpc.MethodDesc{{
		MethodName: "getConfigSpec",
		Handler: func(s any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var r request
			if err := decode(&r); err != nil {
				return nil, err
			}
			return s.(*Server).get(ctx, &r)
		},
	}},
	Streams: []grpc.StreamDesc{{
		StreamName:    "StreamConfigSpec",
		ServerStreams: true,
		Handler: func(s any, to grpc.ServerStream) error {
			var r request
			if err := to.RecvMsg(&r); err != nil {
				return err
			}
			return s.(*Server).stream(&r, to)
		},
	}},
}

// get answers with the rules as they are.
func (s *Server) get(ctx context.Context, r *request) (any, error) {
	p, err := s.enter(ctx, r)
	if err != nil {
		return nil, err
	}
	v := s.deps.Scope(p.State, p.Scope).Current()
	body, err := s.body(r, v)
	if err != nil {
		return nil, err
	}
	return r.first(body, v.SpecTime), nil
}

// stream answers with the rules as they are, and with what they become, until
// the client leaves or the feed is ended.
func (s *Server) stream(r *request, to grpc.ServerStream) error {
	p, err := s.enter(to.Context(), r)
	if err != nil {
		return err
	}
	scope := s.deps.Scope(p.State, p.Scope)
	f := &feed{project: p.Project, key: p.Key, news: make(chan struct{}, 1), ended: make(chan error, 1)}
	if err := s.add(f); err != nil {
		return err
	}
	defer s.drop(f)
	defer scope.Watch(f.notify)()
	// A key that was revoked while it was being let in is seen here, or by
	// KeysChanged, which finds the feed from now on.
	if _, err := s.enter(to.Context(), r); err != nil {
		return err
	}

	v := scope.Current()
	sent, err := s.body(r, v)
	if err != nil {
		return err
	}
	if err := s.send(to, r.first(sent, v.SpecTime)); err != nil {
		return err
	}
	beat := time.NewTicker(s.options.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case err := <-f.ended:
			return err
		default: // before anything else: a key that is gone sees nothing more
		}
		select {
		case <-to.Context().Done():
			return to.Context().Err()
		case err := <-f.ended:
			return err
		case <-f.news:
			v = scope.Current()
			body, err := s.body(r, v)
			if err != nil {
				return err
			}
			if body == sent {
				continue // time passed a boundary that rules name; the rules are the same
			}
			if err := s.send(to, response{body.Body(""), v.SpecTime}); err != nil {
				return err
			}
			sent = body
		case <-beat.C:
			// Gateways end a stream on which nothing has come for a minute or so.
			if err := s.send(to, nothingNew(v.SpecTime)); err != nil {
				return err
			}
		}
	}
}

func (s *Server) send(to grpc.ServerStream, r response) error {
	s.metrics.sent.Inc()
	return to.SendMsg(r)
}

// nothingNew tells an SDK that what it holds is what there is.
func nothingNew(time int64) response { return response{[]byte(statsig.NoUpdates), time} }

// first is the first answer to a request: the body, unless the SDK said that it
// holds it already.
func (r *request) first(body *follower.Download, time int64) response {
	if r.since > 0 && r.since >= uint64(time) {
		return nothingNew(time)
	}
	return response{body.Body(""), time}
}

// Versions that an SDK may ask for, by the numbers of forward_proxy.proto.
const (
	unversioned = 0
	versionOne  = 1
	versionTwo  = 2
)

// body returns the body of a version in the shape that the SDK reads.
func (s *Server) body(r *request, v *follower.Version) (*follower.Download, error) {
	encode := v.V1
	if r.version == versionTwo {
		encode = v.V2
	}
	body, err := encode()
	if err != nil {
		s.options.Logger.Error("encoding a spec download", "error", err)
		return nil, status.Error(codes.Internal, "the rules cannot be encoded")
	}
	return body, nil
}

// enter lets a request in that shows a server key.
func (s *Server) enter(ctx context.Context, r *request) (auth.Principal, error) {
	switch {
	case r.malformed != nil:
		return auth.Principal{}, status.Errorf(codes.InvalidArgument, "this is no ConfigSpecRequest: %v", r.malformed)
	case r.version != unversioned && r.version != versionOne && r.version != versionTwo:
		return auth.Principal{}, status.Errorf(codes.InvalidArgument, "version %d is not known here: ask for v1 or v2", r.version)
	}
	asked := asRequest(ctx)
	token := r.key
	if token == "" {
		token = auth.Token(asked)
	}
	p, err := s.deps.Resolve(asked, token)
	switch {
	case err != nil:
		return auth.Principal{}, refusal(err)
	case p.Key.Kind != flags.KeyServer:
		return auth.Principal{}, status.Error(codes.PermissionDenied, "rules are for server keys only")
	}
	return p, nil
}

// asRequest is what keys are checked against: where a call comes from, and its
// metadata.
func asRequest(ctx context.Context) *http.Request {
	r := &http.Request{Method: http.MethodPost, Header: http.Header{}}
	if p, ok := peer.FromContext(ctx); ok {
		r.RemoteAddr = p.Addr.String()
	}
	md, _ := metadata.FromIncomingContext(ctx)
	for name, values := range md {
		for _, value := range values {
			r.Header.Add(name, value)
		}
	}
	return r.WithContext(ctx)
}

// refusal turns what the resolver says into a status.
func refusal(err error) error {
	switch web.StatusOf(err) {
	case http.StatusUnauthorized:
		return errRevoked
	case http.StatusForbidden:
		return status.Error(codes.PermissionDenied, "the key may not be used like this")
	case http.StatusTooManyRequests:
		return status.Error(codes.ResourceExhausted, "too many unknown keys from this address")
	}
	return status.Error(codes.Unavailable, "keys cannot be checked now")
}
