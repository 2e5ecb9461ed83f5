<?php
// Makes the calls of the AWS SDK for PHP that Nextcloud's primary storage makes, with the SDK that Nextcloud brings.
//
//   php nextcloud.php FOLDER_3RDPARTY ENDPOINT REGION BUCKET      the key comes from the environment
declare(strict_types=1);

[, $thirdParty, $endpoint, $region, $bucket] = $argv;
require "$thirdParty/autoload.php";

use Aws\S3\MultipartCopy;
use Aws\S3\MultipartUploader;
use Aws\S3\S3Client;
use GuzzleHttp\Psr7\NoSeekStream;
use GuzzleHttp\Psr7\Utils;

const MIB = 1024 * 1024;

$s3 = new S3Client([
    'version' => 'latest',
    'endpoint' => $endpoint,
    'region' => $region,
    'use_path_style_endpoint' => true,
    'use_arn_region' => false,
    'csm' => false,
    'use_aws_shared_config_files' => false,
    'credentials' => ['key' => getenv('AWS_ACCESS_KEY_ID'), 'secret' => getenv('AWS_SECRET_ACCESS_KEY')],
]);

function check(bool $holds, string $what): void
{
    if (!$holds) {
        throw new Exception("not so: $what");
    }
}

function content(S3Client $s3, string $bucket, string $key): string
{
    return (string) $s3->getObject(['Bucket' => $bucket, 'Key' => $key])['Body'];
}

// At its start: is the bucket there?
check($s3->doesBucketExist($bucket), 'the bucket exists');

// A small file, and an empty one.
foreach (['urn:oid:1' => random_bytes(5000), 'urn:oid:2' => ''] as $key => $body) {
    $s3->putObject([
        'Bucket' => $bucket, 'Key' => $key, 'Body' => Utils::streamFor($body), 'ACL' => 'private',
        'ContentType' => 'image/png', 'StorageClass' => 'STANDARD',
    ]);
    check(content($s3, $bucket, $key) === $body, "$key comes back");
}
check($s3->doesObjectExist($bucket, 'urn:oid:1'), 'an object exists');
check(!$s3->doesObjectExist($bucket, 'urn:oid:none'), 'another does not');

// A large file, from a stream that is read once.
$large = random_bytes(33 * MIB);
(new MultipartUploader($s3, new NoSeekStream(Utils::streamFor($large)), [
    'bucket' => $bucket, 'key' => 'urn:oid:3', 'part_size' => 10 * MIB, 'concurrency' => 5,
    'params' => ['ContentType' => 'video/mp4', 'StorageClass' => 'STANDARD'],
]))->upload();
check(content($s3, $bucket, 'urn:oid:3') === $large, 'a large file comes back');
$range = (string) $s3->getObject(['Bucket' => $bucket, 'Key' => 'urn:oid:3', 'Range' => 'bytes=20000000-'])['Body'];
check($range === substr($large, 20_000_000), 'a player reads the rest of a file');

// A chunked upload of a desktop client: chunks come one by one, and are found again in a list.
$upload = ['Bucket' => $bucket, 'Key' => 'urn:oid:4'];
$upload['UploadId'] = $s3->createMultipartUpload($upload)['UploadId'];
$chunks = str_split($large, 10 * MIB);
foreach (array_reverse($chunks, true) as $i => $chunk) {
    $part = ['PartNumber' => $i + 1, 'Body' => Utils::streamFor($chunk), 'ContentLength' => strlen($chunk)];
    $s3->uploadPart($upload + $part);
}
$parts = [];
$marker = 0;
do {
    $page = $s3->listParts($upload + ['MaxParts' => 2, 'PartNumberMarker' => $marker]);
    $parts = array_merge($parts, $page['Parts'] ?? []);
    $marker = $page['NextPartNumberMarker'];
} while ($page['IsTruncated']);
check(count($parts) === count($chunks), 'all parts are listed');
$s3->completeMultipartUpload($upload + ['MultipartUpload' => ['Parts' => $parts]]);
check((int) $s3->headObject(['Bucket' => $bucket, 'Key' => 'urn:oid:4'])['ContentLength'] === strlen($large), 'its size');
check(content($s3, $bucket, 'urn:oid:4') === $large, 'a chunked upload comes back');

// One that the client gave up.
$given = ['Bucket' => $bucket, 'Key' => 'urn:oid:5'];
$given['UploadId'] = $s3->createMultipartUpload($given)['UploadId'];
$s3->uploadPart($given + ['PartNumber' => 1, 'Body' => 'x']);
$s3->abortMultipartUpload($given);
check(!isset($s3->listMultipartUploads(['Bucket' => $bucket])['Uploads']), 'no upload is left');

// Copies, in one request and in parts.
$s3->copy($bucket, 'urn:oid:1', $bucket, 'urn:oid:6', 'private', ['mup_threshold' => PHP_INT_MAX]);
check(content($s3, $bucket, 'urn:oid:6') === content($s3, $bucket, 'urn:oid:1'), 'a copy');
(new MultipartCopy($s3, ['source_bucket' => $bucket, 'source_key' => 'urn:oid:3'], [
    'bucket' => $bucket, 'key' => 'urn:oid:7', 'acl' => 'private', 'part_size' => 10 * MIB,
    'source_metadata' => $s3->headObject(['Bucket' => $bucket, 'Key' => 'urn:oid:3']),
]))->copy();
check(content($s3, $bucket, 'urn:oid:7') === $large, 'a copy in parts');

foreach (range(1, 7) as $i) {
    $s3->deleteObject(['Bucket' => $bucket, 'Key' => "urn:oid:$i"]);
}
check(!isset($s3->listObjectsV2(['Bucket' => $bucket])['Contents']), 'all is deleted');
echo "done\n";
