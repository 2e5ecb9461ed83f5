// Runs the acceptance test of Thanos's object store library against a bucket, with the configuration that the file named by the
// first argument holds, as Thanos, Loki, Mimir, Tempo and Cortex read it.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"testing"

	"github.com/go-kit/log"
	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/providers/s3"
	"gopkg.in/yaml.v2"
)

func main() {
	configuration, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	// The flags of a test are not to find the argument.
	os.Args = append(os.Args[:1], "-test.v")
	var whole struct{ Config yaml.MapSlice }
	if err := yaml.Unmarshal(configuration, &whole); err != nil {
		panic(err)
	}
	if configuration, err = yaml.Marshal(whole.Config); err != nil {
		panic(err)
	}
	bucket, err := s3.NewBucket(log.NewLogfmtLogger(os.Stderr), configuration, "carport-apps", nil)
	if err != nil {
		panic(err)
	}
	testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{
		{Name: "acceptance", F: func(t *testing.T) { objstore.AcceptanceTest(t, bucket) }},
		{Name: "chunks in parts, read by ranges", F: func(t *testing.T) { chunks(t, bucket) }},
	}, nil, nil)
}

// chunks uploads a large object, and reads what a query reads of it.
func chunks(t *testing.T, bucket objstore.Bucket) {
	ctx := context.Background()
	body := make([]byte, 100*1024*1024)
	if _, err := rand.Read(body); err != nil {
		t.Fatal(err)
	}
	if err := bucket.Upload(ctx, "01BLOCK/chunks/000001", bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 16_000_000, 67_108_800, int64(len(body)) - 5000} {
		reader, err := bucket.GetRange(ctx, "01BLOCK/chunks/000001", at, 5000)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(reader)
		if err != nil || !bytes.Equal(got, body[at:at+5000]) {
			t.Fatalf("another content at %d: %v", at, err)
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := bucket.Delete(ctx, "01BLOCK/chunks/000001"); err != nil {
		t.Fatal(err)
	}
}
