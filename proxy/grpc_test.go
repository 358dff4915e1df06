package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func contextFor(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

// chat sends every message back, and adds a trailer at the end.
var chat = grpc.StreamDesc{StreamName: "Chat", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
	n := 0
	for {
		m := new(healthpb.HealthCheckRequest)
		if err := s.RecvMsg(m); err != nil {
			break // the client has ended its side
		}
		if n++; m.Service == "fail" {
			return status.Error(codes.DataLoss, "as you asked: ünï")
		}
		if err := s.SendMsg(m); err != nil {
			return err
		}
	}
	s.SetTrailer(metadata.Pairs("count", string(rune('0'+n))))
	return nil
}}

// TestGRPC is a real client and a real server with the proxy between them.
func TestGRPC(t *testing.T) {
	g := grpc.NewServer()
	state := health.NewServer()
	healthpb.RegisterHealthServer(g, state)
	g.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Echo", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{chat}}, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go g.Serve(l)
	t.Cleanup(g.Stop)
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: "h2c://" + l.Addr().String()}}})
	conn, err := grpc.NewClient("passthrough:///"+s.https, grpc.WithAuthority("a.test"), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: s.ca.pool, ServerName: "a.test"})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, _ := contextFor(t)
	client := healthpb.NewHealthClient(conn)

	if r, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("one call: got %v, %v", r, err)
	}
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "none"}); status.Code(err) != codes.NotFound {
		t.Errorf("an error without an answer: got %v", err)
	}

	watch, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING, healthpb.HealthCheckResponse_SERVING} {
		state.SetServingStatus("", want)
		if r, err := watch.Recv(); err != nil || r.Status != want {
			t.Errorf("watch: got %v, %v, want %v", r, err, want)
		}
	}

	talk, err := conn.NewStream(ctx, &chat, "/test.Echo/Chat")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two", "three"} {
		got := new(healthpb.HealthCheckRequest)
		if err := talk.SendMsg(&healthpb.HealthCheckRequest{Service: word}); err != nil {
			t.Fatal(err)
		}
		if err := talk.RecvMsg(got); err != nil || got.Service != word {
			t.Errorf("both ways: got %v, %v, want %s", got, err, word)
		}
	}
	if err := talk.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := talk.RecvMsg(new(healthpb.HealthCheckRequest)); err == nil || talk.Trailer().Get("count")[0] != "3" {
		t.Errorf("its end: got %v with %v", err, talk.Trailer())
	}

	if talk, err = conn.NewStream(ctx, &chat, "/test.Echo/Chat"); err != nil {
		t.Fatal(err)
	}
	if err := talk.SendMsg(&healthpb.HealthCheckRequest{Service: "fail"}); err != nil {
		t.Fatal(err)
	}
	if err := talk.RecvMsg(new(healthpb.HealthCheckRequest)); status.Code(err) != codes.DataLoss || status.Convert(err).Message() != "as you asked: ünï" {
		t.Errorf("an error in a stream: got %v", err)
	}
}
