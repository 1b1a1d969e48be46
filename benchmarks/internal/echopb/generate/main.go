// The generate command makes echo.pb.go of echo.proto in the working directory.
// It compiles and generates in this process, so it needs no protoc, only the
// modules in go.mod.
package main

import (
	"context"
	"log"
	"os"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const source = "echo.proto"

func main() {
	text, err := generate(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("echo.pb.go", text, 0o644); err != nil {
		log.Fatal(err)
	}
}

// generate returns what protoc-gen-go makes of the source.
func generate(ctx context.Context) ([]byte, error) {
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, source)
	if err != nil {
		return nil, err
	}
	plugin, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{source},
		Parameter:      proto.String("paths=source_relative"),
		ProtoFile:      []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(files[0])},
	})
	if err != nil {
		return nil, err
	}
	internal_gengo.GenerateFile(plugin, plugin.FilesByPath[source])
	return []byte(plugin.Response().File[0].GetContent()), nil
}
