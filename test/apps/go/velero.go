// Makes the calls of the AWS SDK for Go that Velero's plugin for AWS makes, with its settings: uploads of streams with a checksum,
// existence, listings by folders, downloads, presigned addresses, deletions.
//
//	velero ENDPOINT REGION BUCKET CHECKSUM
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// stream has no length and cannot be wound back, as the tar that Velero makes while it uploads.
type stream struct{ io.Reader }

func backup(client *s3.Client, bucket string, checksum types.ChecksumAlgorithm, name string, size int) error {
	ctx := context.Background()
	uploader := manager.NewUploader(client)
	body := make([]byte, size)
	if _, err := rand.Read(body); err != nil {
		return err
	}
	key := aws.String("backups/" + name + "/" + name + ".tar.gz")
	input := &s3.PutObjectInput{Bucket: &bucket, Key: key, Body: stream{bytes.NewReader(body)}, ChecksumAlgorithm: checksum}
	if _, err := uploader.Upload(ctx, input); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if _, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: key}); err != nil {
		return fmt.Errorf("exists: %w", err)
	}
	_, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: aws.String("backups/none")})
	var answer smithy.APIError
	if !errors.As(err, &answer) || answer.ErrorCode() != "NotFound" {
		return fmt.Errorf("what is not there: %w", err)
	}
	got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: key})
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	content, err := io.ReadAll(got.Body)
	if err != nil || !bytes.Equal(content, body) {
		return fmt.Errorf("another content: %w", err)
	}
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{
		Bucket: &bucket, Prefix: aws.String("backups/"), Delimiter: aws.String("/"),
	})
	var folders []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		for _, folder := range page.CommonPrefixes {
			folders = append(folders, *folder.Prefix)
		}
	}
	if len(folders) != 1 || folders[0] != "backups/"+name+"/" {
		return fmt.Errorf("folders: %v", folders)
	}
	presigned, err := s3.NewPresignClient(client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: key},
		s3.WithPresignExpires(10*time.Minute))
	if err != nil {
		return fmt.Errorf("presign: %w", err)
	}
	response, err := http.Get(presigned.URL)
	if err != nil {
		return fmt.Errorf("presigned download: %w", err)
	}
	defer response.Body.Close()
	if content, err = io.ReadAll(response.Body); err != nil || !bytes.Equal(content, body) {
		return fmt.Errorf("another content by a presigned address: %s %w", response.Status, err)
	}
	if _, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: key}); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

func main() {
	endpoint, region, bucket, checksum := os.Args[1], os.Args[2], os.Args[3], types.ChecksumAlgorithm(os.Args[4])
	cfg, err := config.LoadDefaultConfig(context.Background(), config.WithRegion(region))
	if err != nil {
		panic(err)
	}
	client := s3.NewFromConfig(cfg, func(options *s3.Options) {
		options.BaseEndpoint = &endpoint
		options.UsePathStyle = true
	})
	for name, size := range map[string]int{"empty": 0, "small": 5000, "large": 33 * 1024 * 1024} {
		if err := backup(client, bucket, checksum, name, size); err != nil {
			fmt.Fprintln(os.Stderr, name, err)
			os.Exit(1)
		}
	}
	fmt.Println("done")
}
