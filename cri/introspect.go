package cri

import (
	"context"
	"encoding/json"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RegistryPath returns the config_path that containerd runs with: version 2 reports
// it by its introspection service on the same socket, version 1 in the details of
// its status. It is nil if neither does.
func (c *Client) RegistryPath(ctx context.Context) *string {
	if path := c.exportedPath(ctx); path != nil {
		return path
	}
	st, err := c.runtime.Status(ctx, &runtimeapi.StatusRequest{Verbose: true})
	if err != nil {
		return nil
	}
	var config struct {
		Registry struct {
			ConfigPath *string `json:"configPath"`
		} `json:"registry"`
	}
	if json.Unmarshal([]byte(st.GetInfo()["config"]), &config) != nil {
		return nil
	}
	return config.Registry.ConfigPath
}

func (c *Client) exportedPath(ctx context.Context) *string {
	filter := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "type==io.containerd.cri.v1,id==images")
	var answer []byte
	// The service's own client would import containerd's whole API for one string.
	err := c.conn.Invoke(
		ctx,
		"/containerd.services.introspection.v1.Introspection/Plugins",
		&filter,
		&answer,
		grpc.ForceCodecV2(rawCodec{}),
	)
	if err != nil {
		return nil
	}
	return exported(answer, "RegistryConfigPath")
}

// ownVersion returns the version by containerd's own service, which also a containerd
// without CRI has (api/services/version/v1/version.proto: field 1). Empty: unknown.
func (c *Client) ownVersion(ctx context.Context) (version string) {
	var request, answer []byte
	err := c.conn.Invoke(ctx, "/containerd.services.version.v1.Version/Version", &request, &answer, grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		return ""
	}
	fields(answer, 1, func(b []byte) { version = string(b) })
	return version
}

// exported returns a plugin's export in a PluginsResponse
// (api/services/introspection/v1/introspection.proto): field 1 of the response
// is a plugin, field 5 of that its exports.
func exported(response []byte, name string) *string {
	var out *string
	fields(response, 1, func(plugin []byte) {
		fields(plugin, 5, func(entry []byte) {
			var key, value string
			fields(entry, 1, func(b []byte) { key = string(b) })
			fields(entry, 2, func(b []byte) { value = string(b) })
			if key == name {
				out = &value
			}
		})
	})
	return out
}

// fields calls f for every length-delimited field of message with this number.
func fields(message []byte, number protowire.Number, f func([]byte)) {
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeField(message)
		if size < 0 {
			return
		}
		if n == number && kind == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(message)
			if b, ok := protowire.ConsumeBytes(message[tag:]); ok >= 0 {
				f(b)
			}
		}
		message = message[size:]
	}
}

// rawCodec passes messages on unchanged.
type rawCodec struct{}

var _ encoding.CodecV2 = rawCodec{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return errors.ErrUnsupported
	}
	*b = data.Materialize()
	return nil
}
