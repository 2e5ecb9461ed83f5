/** The ten checksums of S3, by the SDK and by hand: in headers, trailers, parts, copies, listings and forms. */
import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { Xxh3_64, Xxh3_128, Xxh64 } from '@aws-sdk/checksums/xxh'
import {
  ChecksumAlgorithm,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checksumOf, isCombinable, loadChecksum } from '../src/api/s3/payload/checksum.js'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { postForm, signedForm } from './support/post-form.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'checksums'
const MIB = 1024 * 1024
const ALGORITHMS = Object.values(ChecksumAlgorithm)
let node: TestNode
let owner: AccessKey
let s3: S3Client
/** Sends checksums only where a test says so. */
let bare: S3Client

class Sha512 {
  #hash = createHash('sha512')
  update(data: Uint8Array): void {
    this.#hash.update(data)
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }
  reset(): void {
    this.#hash = createHash('sha512')
  }
}
/** What the SDK has only for who asks: another implementation than the node's. */
const checksumAlgorithms = { SHA512: Sha512, XXHASH64: Xxh64, XXHASH3: Xxh3_64, XXHASH128: Xxh3_128 }

beforeAll(async () => {
  await loadChecksum('XXHASH3')
  node = await startTestNode()
  owner = await node.createKey('checksums')
  s3 = node.client(owner, { checksumAlgorithms })
  bare = node.client(owner, { checksumAlgorithms, requestChecksumCalculation: 'WHEN_REQUIRED' })
  await s3.send(new CreateBucketCommand({ Bucket }))
})

afterAll(() => node?.dispose())

const base64 = (algorithm: ChecksumAlgorithm, data: Buffer) => checksumOf(algorithm, data).toString('base64')
const field = (algorithm: ChecksumAlgorithm) => `Checksum${algorithm}` as 'ChecksumCRC32'
const head = (Key: string) => s3.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))

test('there are ten', () => {
  expect(ALGORITHMS).toHaveLength(10)
})

describe.each(ALGORITHMS)('%s', (algorithm) => {
  const name = field(algorithm)

  test('in a header is verified, kept and shown', async () => {
    for (const size of [0, 1000, 2 * MIB]) {
      const Body = randomBytes(size)
      const Key = `header/${algorithm}/${size}`
      const value = base64(algorithm, Body)
      const written = await bare.send(new PutObjectCommand({ Bucket, Key, Body, [name]: value }))
      expect(written).toMatchObject({ [name]: value, ChecksumType: 'FULL_OBJECT' })
      expect(await head(Key)).toMatchObject({ [name]: value, ChecksumType: 'FULL_OBJECT' })
      const got = await bare.send(new GetObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))
      expect(got[name]).toBe(value)
      expect(Buffer.from(await got.Body!.transformToByteArray()).equals(Body)).toBe(true)
    }
    const Key = `header/${algorithm}/1000`
    const listed = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: Key }))
    expect(listed.Contents?.[0]).toMatchObject({
      ChecksumAlgorithm: [algorithm],
      ChecksumType: 'FULL_OBJECT',
    })
    const attributes = { Bucket, Key, ObjectAttributes: ['Checksum' as const] }
    const shown = await s3.send(new GetObjectAttributesCommand(attributes))
    expect(shown.Checksum?.[name]).toBe((await head(Key))[name])
  })

  test('that is wrong refuses the body, inline and in blocks', async () => {
    for (const size of [1000, 2 * MIB]) {
      const object = { Bucket, Key: `wrong/${algorithm}`, Body: randomBytes(size) }
      const wrong = { [name]: base64(algorithm, randomBytes(size)) }
      await expect(bare.send(new PutObjectCommand({ ...object, ...wrong }))).rejects.toMatchObject({
        name: 'BadDigest',
      })
      await expect(head(object.Key)).rejects.toMatchObject({ name: 'NotFound' })
    }
  })

  // The SDK computes no MD5, which it only passes on.
  test.runIf(algorithm !== 'MD5')('in a trailer is verified and kept', async () => {
    const body = randomBytes(200_000)
    const Key = `trailer/${algorithm}`
    const Body = Readable.from([body.subarray(0, 100), body.subarray(100)])
    const object = { Bucket, Key, Body, ContentLength: body.length, ChecksumAlgorithm: algorithm }
    await s3.send(new PutObjectCommand(object))
    expect((await head(Key))[name]).toBe(base64(algorithm, body))
  })

  test('of parts makes that of the object', async () => {
    const parts = [randomBytes(5 * MIB), randomBytes(1000)]
    const type = algorithm === 'CRC64NVME' ? 'FULL_OBJECT' : 'COMPOSITE'
    const Key = `parts/${algorithm}`
    const created = { Bucket, Key, ChecksumAlgorithm: algorithm }
    const { UploadId } = await bare.send(new CreateMultipartUploadCommand(created))
    const Parts = []
    for (const [i, Body] of parts.entries()) {
      const part = { Bucket, Key, UploadId, PartNumber: i + 1, Body, [name]: base64(algorithm, Body) }
      const { ETag, ...answer } = await bare.send(new UploadPartCommand(part))
      expect(answer[name]).toBe(base64(algorithm, Body))
      Parts.push({ PartNumber: i + 1, ETag, [name]: base64(algorithm, Body) })
    }
    const listed = await bare.send(new ListPartsCommand({ Bucket, Key, UploadId }))
    expect(listed).toMatchObject({ ChecksumAlgorithm: algorithm, ChecksumType: type })
    expect(listed.Parts?.map((part) => part[name])).toEqual(Parts.map((part) => part[name]))
    const wrong = { Parts: [{ ...Parts[0]!, [name]: Parts[1]![name] }, Parts[1]!] }
    await expect(
      bare.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: wrong })),
    ).rejects.toMatchObject({ name: 'InvalidPart' })
    const done = await bare.send(
      new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }),
    )
    const checksums = parts.map((part) => checksumOf(algorithm, part))
    const expected =
      type === 'COMPOSITE'
        ? `${base64(algorithm, Buffer.concat(checksums))}-${checksums.length}`
        : base64(algorithm, Buffer.concat(parts))
    expect(done).toMatchObject({ [name]: expected, ChecksumType: type })
    expect(await head(Key)).toMatchObject({ [name]: expected, ChecksumType: type })
    const attributes = { Bucket, Key, ObjectAttributes: ['Checksum' as const, 'ObjectParts' as const] }
    const shown = await s3.send(new GetObjectAttributesCommand(attributes))
    expect(shown.Checksum).toMatchObject({ [name]: expected, ChecksumType: type })
    expect(shown.ObjectParts?.Parts?.map((part) => part[name])).toEqual(Parts.map((part) => part[name]))
  })

  test('of a whole object of parts is offered where it can be combined', async () => {
    const upload = { Bucket, Key: 'full', ChecksumAlgorithm: algorithm, ChecksumType: 'FULL_OBJECT' as const }
    const created = bare.send(new CreateMultipartUploadCommand(upload))
    if (isCombinable(algorithm)) expect((await created).ChecksumType).toBe('FULL_OBJECT')
    else await expect(created).rejects.toMatchObject({ name: 'InvalidRequest' })
  })

  test('is computed for a copy, and for a part from another object', async () => {
    const Body = randomBytes(3000)
    await bare.send(new PutObjectCommand({ Bucket, Key: 'source', Body }))
    const copy = { Bucket, CopySource: `${Bucket}/source` }
    const Key = `copy/${algorithm}`
    const copied = await bare.send(new CopyObjectCommand({ ...copy, Key, ChecksumAlgorithm: algorithm }))
    expect(copied.CopyObjectResult?.[name]).toBe(base64(algorithm, Body))
    expect((await head(Key))[name]).toBe(base64(algorithm, Body))
    const upload = { Bucket, Key: `${Key}/part` }
    const { UploadId } = await bare.send(
      new CreateMultipartUploadCommand({ ...upload, ChecksumAlgorithm: algorithm }),
    )
    const part = await bare.send(
      new UploadPartCopyCommand({ ...upload, ...copy, Key: upload.Key, UploadId, PartNumber: 1 }),
    )
    expect(part.CopyPartResult?.[name]).toBe(base64(algorithm, Body))
  })

  test('of a form is verified', async () => {
    const content = randomBytes(500)
    const header = `x-amz-checksum-${algorithm.toLowerCase()}`
    for (const [key, of] of [
      [`form/${algorithm}`, content],
      [`form/wrong/${algorithm}`, randomBytes(500)],
    ] as const) {
      const fields = signedForm(owner, Bucket, { key, [header]: base64(algorithm, of) })
      const answer = await postForm(`${node.endpoint}/${Bucket}`, fields, { content, name: 'a' })
      expect(answer.status).toBe(of === content ? 204 : 400)
    }
    expect((await head(`form/${algorithm}`))[name]).toBe(base64(algorithm, content))
    await expect(head(`form/wrong/${algorithm}`)).rejects.toMatchObject({ name: 'NotFound' })
  })
})

describe('an object that comes without a checksum', () => {
  test.each([0, 100, 65_536, 65_537, 3 * MIB + 1])('gets a CRC64NVME: %i bytes', async (size) => {
    const Body = randomBytes(size)
    const Key = `default/${size}`
    const expected = { ChecksumCRC64NVME: base64('CRC64NVME', Body), ChecksumType: 'FULL_OBJECT' }
    expect(await bare.send(new PutObjectCommand({ Bucket, Key, Body }))).toMatchObject(expected)
    expect(await head(Key)).toMatchObject(expected)
    const sealed = { Bucket, Key: `${Key}/sealed`, Body, ServerSideEncryption: 'AES256' as const }
    expect(await bare.send(new PutObjectCommand(sealed))).toMatchObject(expected)
    const copy = { Bucket, Key: `${Key}/copy`, CopySource: `${Bucket}/${Key}` }
    expect((await bare.send(new CopyObjectCommand(copy))).CopyObjectResult).toMatchObject(expected)
    const url = await getSignedUrl(bare, new PutObjectCommand({ Bucket, Key: `${Key}/url` }))
    expect((await fetch(url, { method: 'PUT', body: Body })).status).toBe(200)
    expect(await head(`${Key}/url`)).toMatchObject(expected)
  })

  test('gets one of all its parts, also where parts came with other checksums', async () => {
    for (const named of [undefined, 'CRC32', 'CRC64NVME'] as const) {
      const parts = [randomBytes(5 * MIB), randomBytes(70_000)]
      const Key = `default/parts/${named}`
      const { UploadId } = await bare.send(new CreateMultipartUploadCommand({ Bucket, Key }))
      const Parts = []
      for (const [i, Body] of parts.entries()) {
        const part = { Bucket, Key, UploadId, PartNumber: i + 1, Body }
        const own = named && { [field(named)]: base64(named, Body) }
        const { ETag } = await bare.send(new UploadPartCommand({ ...part, ...own }))
        Parts.push({ PartNumber: i + 1, ETag, ...own })
      }
      const listed = await bare.send(new ListPartsCommand({ Bucket, Key, UploadId }))
      const shown = field(named ?? 'CRC64NVME')
      expect(listed.Parts?.map((part) => part[shown])).toEqual(
        parts.map((part) => base64(named ?? 'CRC64NVME', part)),
      )
      const complete = { Bucket, Key, UploadId, MultipartUpload: { Parts } }
      const badPart = { ...Parts[0]!, ChecksumCRC64NVME: base64('CRC64NVME', parts[1]!) }
      const badParts = { ...complete, MultipartUpload: { Parts: [badPart, Parts[1]!] } }
      await expect(bare.send(new CompleteMultipartUploadCommand(badParts))).rejects.toMatchObject({
        name: 'InvalidPart',
      })
      for (const wrong of [{ ChecksumCRC64NVME: base64('CRC64NVME', parts[0]!) }, { ChecksumSHA1: 'x' }]) {
        await expect(
          bare.send(new CompleteMultipartUploadCommand({ ...complete, ...wrong })),
        ).rejects.toMatchObject({ $metadata: { httpStatusCode: 400 } })
      }
      // A client that takes up an upload names the parts as they were listed.
      const MultipartUpload = { Parts: listed.Parts }
      const done = await bare.send(new CompleteMultipartUploadCommand({ ...complete, MultipartUpload }))
      const expected = base64('CRC64NVME', Buffer.concat(parts))
      expect(done).toMatchObject({ ChecksumCRC64NVME: expected, ChecksumType: 'FULL_OBJECT' })
      const first = await s3.send(
        new HeadObjectCommand({ Bucket, Key, PartNumber: 1, ChecksumMode: 'ENABLED' }),
      )
      expect(first.ChecksumCRC64NVME).toBe(base64('CRC64NVME', parts[0]!))
    }
  })

  test("gets none under a client's key, which it would tell something of", async () => {
    const key = randomBytes(32)
    const customer = {
      SSECustomerAlgorithm: 'AES256',
      SSECustomerKey: key.toString('base64'),
      SSECustomerKeyMD5: createHash('md5').update(key).digest('base64'),
    }
    const object = { Bucket, Key: 'default/customer', ...customer }
    const written = await bare.send(new PutObjectCommand({ ...object, Body: 'yes or no' }))
    expect(written.ChecksumCRC64NVME).toBeUndefined()
    const shown = await s3.send(new HeadObjectCommand({ ...object, ChecksumMode: 'ENABLED' }))
    expect(shown.ChecksumCRC64NVME).toBeUndefined()
  })
})
