import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketEncryptionCommand,
  GetBucketEncryptionCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutBucketEncryptionCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { crc32c } from '@node-rs/crc32'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { contentOpener, contentSealer } from '../src/model/content/block-ciphers.js'
import { MasterKeys } from '../src/model/content/ciphers.js'
import { contentOf } from '../src/model/content/list-rows.js'
import { systemRandom } from '../src/platform/clock-and-random.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'sealed'
const MIB = 1024 * 1024
let node: TestNode
let s3: S3Client

beforeAll(async () => {
  node = await startTestNode()
  s3 = node.client(await node.createKey('encryption'))
  await s3.send(new CreateBucketCommand({ Bucket }))
})

afterAll(() => node?.dispose())

const md5 = (data: Uint8Array, encoding: 'hex' | 'base64' = 'hex') =>
  createHash('md5').update(data).digest(encoding)

function customer(key = randomBytes(32)) {
  const SSECustomerKey = key.toString('base64')
  return { SSECustomerAlgorithm: 'AES256', SSECustomerKey, SSECustomerKeyMD5: md5(key, 'base64') }
}

function asSource(key: ReturnType<typeof customer>) {
  return {
    CopySourceSSECustomerAlgorithm: key.SSECustomerAlgorithm,
    CopySourceSSECustomerKey: key.SSECustomerKey,
    CopySourceSSECustomerKeyMD5: key.SSECustomerKeyMD5,
  }
}

const put = (Key: string, Body: Buffer, more: object = {}) =>
  s3.send(new PutObjectCommand({ Bucket, Key, Body, ...more }))
async function get(Key: string, more: object = {}): Promise<Buffer> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key, ...more }))
  return Buffer.from(await Body!.transformToByteArray())
}
const head = (Key: string, more: object = {}) => s3.send(new HeadObjectCommand({ Bucket, Key, ...more }))

/** The bytes that the node keeps of an object, inline or as blocks. */
async function storedBytes(Key: string): Promise<Buffer> {
  const { model } = node.core
  const bucket = (await model.buckets.byName(Bucket, undefined))!
  const version = (await model.objects.get(bucket.id, Buffer.from(Key)))!
  if (version.body) return version.body
  const blocks: Buffer[] = []
  for await (const { ref } of model.blobs.blocksOf(version.bucket, version.id, version.content)) {
    blocks.push(Buffer.from(await node.core.blocks.get(ref.hash)))
  }
  return Buffer.concat(blocks)
}

/** Uploads parts of these sizes, and returns the whole content. */
async function multipart(
  Key: string,
  sizes: readonly number[],
  more: object,
  onPart: object = {},
): Promise<Buffer> {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ...more }))
  const content: Buffer[] = []
  const Parts = []
  for (const [i, size] of sizes.entries()) {
    const Body = randomBytes(size)
    content.push(Body)
    const part = { Bucket, Key, UploadId, PartNumber: i + 1 }
    const { ETag } = await s3.send(new UploadPartCommand({ ...part, Body, ...onPart }))
    Parts.push({ PartNumber: i + 1, ETag })
  }
  await s3.send(
    new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts }, ...onPart }),
  )
  return Buffer.concat(content)
}

/** Paths of the files with an object's blocks, in the order of the content. */
async function blockFiles(Key: string): Promise<string[]> {
  const { model } = node.core
  const bucket = (await model.buckets.byName(Bucket, undefined))!
  const version = (await model.objects.get(bucket.id, Buffer.from(Key)))!
  const paths: string[] = []
  for await (const { ref } of model.blobs.blocksOf(version.bucket, version.id, version.content)) {
    const name = ref.hash.toString('hex')
    paths.push(join(node.dir, 'data', name.slice(0, 2), name))
  }
  return paths
}

/** The file of a block with other bytes after its head, and a checksum that fits them. */
function forgedBlock(file: Buffer, payload: Buffer): Buffer {
  const head = Buffer.from(file.subarray(0, 16))
  head.writeUInt32BE(crc32c(payload, crc32c(head.subarray(0, 12))), 12)
  return Buffer.concat([head, payload])
}

/** The bytes that a plain HTTP client receives of an object before the end or an error. */
async function receivedBytes(Key: string, more: object): Promise<{ received: Buffer; failed: boolean }> {
  const chunks: Buffer[] = []
  try {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key, ...more }))
    for await (const chunk of Body as Readable) chunks.push(chunk as Buffer)
    return { received: Buffer.concat(chunks), failed: false }
  } catch {
    return { received: Buffer.concat(chunks), failed: true }
  }
}

const SIZES = [0, 1, 1000, 65_536, 65_537, MIB, 3 * MIB + 17]

describe("with the client's key (SSE-C)", () => {
  test.each(SIZES)('%i bytes come back, and are not stored as they are', async (size) => {
    const key = customer()
    const body = randomBytes(size)
    const written = await put(`c/${size}`, body, key)
    expect(written.SSECustomerAlgorithm).toBe('AES256')
    expect(written.SSECustomerKeyMD5).toBe(key.SSECustomerKeyMD5)
    expect(written.ETag).not.toBe(`"${md5(body)}"`)
    expect((await get(`c/${size}`, key)).equals(body)).toBe(true)
    const stored = await storedBytes(`c/${size}`)
    // Each block has a tag, as the whole content has if it is kept in the row.
    expect(stored.length).toBe(size + 16 * (size <= 65_536 ? 1 : Math.ceil(size / MIB)))
    if (size >= 1000) {
      expect(stored.includes(body.subarray(0, 64))).toBe(false)
      expect(stored.includes(body.subarray(-64))).toBe(false)
    }
    const shown = await head(`c/${size}`, key)
    expect(shown).toMatchObject({ ContentLength: size, ETag: written.ETag, SSECustomerAlgorithm: 'AES256' })
  })

  test('ranges are decrypted from where they begin', async () => {
    const key = customer()
    const body = randomBytes(3 * MIB + 100)
    await put('range', body, key)
    for (const [first, last] of [
      [0, 0],
      [1, 17],
      [MIB - 1, MIB],
      [MIB + 5, 3 * MIB + 3],
      [3 * MIB + 99, 3 * MIB + 99],
    ] as const) {
      const got = await get('range', { ...key, Range: `bytes=${first}-${last}` })
      expect(got.equals(body.subarray(first, last + 1))).toBe(true)
    }
  })

  test('equal contents are stored differently, and the key is not stored', async () => {
    const raw = randomBytes(32)
    const body = randomBytes(1000)
    await put('twin/1', body, customer(raw))
    await put('twin/2', body, customer(raw))
    expect((await storedBytes('twin/1')).equals(await storedBytes('twin/2'))).toBe(false)
    const { model } = node.core
    const bucket = (await model.buckets.byName(Bucket, undefined))!
    const version = (await model.objects.get(bucket.id, Buffer.from('twin/1')))!
    const kept = Buffer.concat(Object.values(version.encryption!).filter((value) => Buffer.isBuffer(value)))
    expect(kept.includes(raw)).toBe(false)
  })

  test('nothing is told without the key, or with another one', async () => {
    const key = customer()
    await put('secret', randomBytes(100), key)
    for (const wrong of [{}, customer()]) {
      await expect(get('secret', wrong)).rejects.toMatchObject({ name: 'InvalidRequest' })
      await expect(head('secret', wrong)).rejects.toMatchObject({ $metadata: { httpStatusCode: 400 } })
      await expect(
        s3.send(
          new GetObjectAttributesCommand({ Bucket, Key: 'secret', ObjectAttributes: ['ETag'], ...wrong }),
        ),
      ).rejects.toMatchObject({ name: 'InvalidRequest' })
    }
    const { ETag } = await head('secret', key)
    await expect(get('secret', { IfNoneMatch: ETag })).rejects.toMatchObject({ name: 'InvalidRequest' })
    await put('open', randomBytes(100))
    await expect(get('open', key)).rejects.toMatchObject({ name: 'InvalidRequest' })
  })

  test('headers that are incomplete or wrong are refused, and nothing is stored', async () => {
    const key = customer()
    const short = randomBytes(16)
    const cases: [object, string][] = [
      [{ ...key, SSECustomerAlgorithm: 'AES128' }, 'InvalidEncryptionAlgorithmError'],
      [{ ...key, SSECustomerAlgorithm: undefined }, 'InvalidArgument'],
      [customer(short), 'InvalidArgument'],
      [{ ...key, ServerSideEncryption: 'AES256' }, 'InvalidArgument'],
    ]
    for (const [more, name] of cases) {
      await expect(put('refused', randomBytes(10), more)).rejects.toMatchObject({ name })
    }
    await expect(head('refused')).rejects.toMatchObject({ name: 'NotFound' })
  })

  test('parts have their own IVs; ranges go across them', async () => {
    const key = customer()
    const sizes = [5 * MIB + 3, 5 * MIB, 5 * MIB + 1, 77]
    const body = await multipart('parts', sizes, key, key)
    expect((await get('parts', key)).equals(body)).toBe(true)
    let start = 0
    for (const [i, size] of sizes.entries()) {
      const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'parts', PartNumber: i + 1, ...key }))
      expect(got.PartsCount).toBe(sizes.length)
      const bytes = Buffer.from(await got.Body!.transformToByteArray())
      expect(bytes.equals(body.subarray(start, start + size))).toBe(true)
      start += size
      const [first, last] = [Math.max(0, start - 40), Math.min(body.length - 1, start + 40)]
      const across = await get('parts', { ...key, Range: `bytes=${first}-${last}` })
      expect(across.equals(body.subarray(first, last + 1))).toBe(true)
    }
    await expect(get('parts')).rejects.toMatchObject({ name: 'InvalidRequest' })
    await s3.send(
      new CopyObjectCommand({
        Bucket,
        Key: 'parts/copy',
        CopySource: `${Bucket}/parts`,
        ...key,
        ...asSource(key),
      }),
    )
    expect((await get('parts/copy', key)).equals(body)).toBe(true)
    expect((await storedBytes('parts/copy')).equals(await storedBytes('parts'))).toBe(true)
  }, 60_000)

  test('more parts than a row holds are read back, from the middle too', async () => {
    const key = customer()
    const { model } = node.core
    const Key = 'many-parts'
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ...key }))
    const Parts = []
    const content: Buffer[] = []
    for (let PartNumber = 1; PartNumber <= 70; PartNumber++) {
      const Body = randomBytes(100 + PartNumber)
      content.push(Body)
      const part = { Bucket, Key, UploadId, PartNumber, Body, ...key }
      Parts.push({ PartNumber, ETag: (await s3.send(new UploadPartCommand(part))).ETag })
    }
    const complete = { Bucket, Key, UploadId, MultipartUpload: { Parts }, ...key }
    await expect(s3.send(new CompleteMultipartUploadCommand(complete))).rejects.toMatchObject({
      name: 'EntityTooSmall',
    })
    // The model accepts parts of any size.
    const bucket = (await model.buckets.byName(Bucket, undefined))!
    const upload = (await model.uploads.get(bucket.id, Buffer.from(Key), Buffer.from(UploadId!, 'hex')))!
    const rows = await model.uploads.parts(upload)
    const parts = rows.map(({ number, size, iv }) => ({ number, size, ...(iv && { iv }) }))
    await model.uploads.complete(
      upload,
      rows,
      {
        ...{ bucket: bucket.id, key: upload.key, etag: randomBytes(16), etagParts: 70, owner: '' },
        ...{ headers: {}, metadata: {}, mutable: {}, parts, encryption: upload.encryption! },
      },
      randomBytes(16),
      'off',
    )
    const body = Buffer.concat(content)
    expect((await get(Key, key)).equals(body)).toBe(true)
    const middle = await get(Key, { ...key, Range: 'bytes=3000-5999' })
    expect(middle.equals(body.subarray(3000, 6000))).toBe(true)
  }, 60_000)

  test("a part with another key than its upload's, or none, is refused", async () => {
    const key = customer()
    const upload = { Bucket, Key: 'mixed' }
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...upload, ...key }))
    const part = { ...upload, UploadId, PartNumber: 1, Body: 'x' }
    for (const wrong of [{}, customer()]) {
      await expect(s3.send(new UploadPartCommand({ ...part, ...wrong }))).rejects.toMatchObject({
        name: 'InvalidRequest',
      })
    }
    const { ETag } = await s3.send(new UploadPartCommand({ ...part, ...key }))
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] }
    await expect(
      s3.send(new CompleteMultipartUploadCommand({ ...upload, UploadId, MultipartUpload, ...customer() })),
    ).rejects.toMatchObject({ name: 'InvalidRequest' })
    await s3.send(new AbortMultipartUploadCommand({ ...upload, UploadId }))
    const plain = await s3.send(new CreateMultipartUploadCommand(upload))
    await expect(
      s3.send(new UploadPartCommand({ ...part, UploadId: plain.UploadId, ...key })),
    ).rejects.toMatchObject({ name: 'InvalidRequest' })
  })
})

describe('copies', () => {
  const kinds = ['none', 'SSE-S3', 'SSE-C'] as const
  const writing = (kind: (typeof kinds)[number], key: ReturnType<typeof customer>) =>
    kind === 'SSE-C' ? key : kind === 'SSE-S3' ? { ServerSideEncryption: 'AES256' as const } : {}
  const pairs = kinds.flatMap((from) => kinds.map((to) => [from, to] as const))

  test.each(pairs)('from %s to %s', async (from, to) => {
    const [a, b] = [customer(), customer()]
    for (const size of [1000, 2 * MIB + 1]) {
      const body = randomBytes(size)
      const Key = `copy/${from}/${to}/${size}`
      await put(Key, body, { ...writing(from, a), ChecksumAlgorithm: 'CRC32' })
      const copy = { Bucket, CopySource: `${Bucket}/${Key}`, ...(from === 'SSE-C' && asSource(a)) }
      const copied = await s3.send(new CopyObjectCommand({ ...copy, Key: `${Key}/copy`, ...writing(to, b) }))
      expect(copied.ServerSideEncryption).toBe(to === 'SSE-S3' ? 'AES256' : undefined)
      const reading = to === 'SSE-C' ? b : {}
      expect((await get(`${Key}/copy`, reading)).equals(body)).toBe(true)
      const shown = await head(`${Key}/copy`, { ...reading, ChecksumMode: 'ENABLED' })
      const source = await head(Key, { ...(from === 'SSE-C' ? a : {}), ChecksumMode: 'ENABLED' })
      expect(shown.ChecksumCRC32).toBe(source.ChecksumCRC32)
      expect(copied.CopyObjectResult?.ETag).toBe(shown.ETag)
      if (to !== 'SSE-C') expect(shown.ETag).toBe(`"${md5(body)}"`)
      // Copy a range as a part of an upload.
      const upload = { Bucket, Key: `${Key}/part` }
      const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...upload, ...writing(to, b) }))
      const part = await s3.send(
        new UploadPartCopyCommand({
          ...{ ...upload, ...copy, UploadId, PartNumber: 1, CopySourceRange: 'bytes=100-899', ...reading },
          Key: upload.Key,
        }),
      )
      await s3.send(
        new CompleteMultipartUploadCommand({
          ...{ ...upload, UploadId, ...reading },
          MultipartUpload: { Parts: [{ PartNumber: 1, ETag: part.CopyPartResult!.ETag }] },
        }),
      )
      expect((await get(upload.Key, reading)).equals(body.subarray(100, 900))).toBe(true)
    }
  })

  test("of a source under a client's key need that key", async () => {
    const key = customer()
    await put('locked-source', randomBytes(10), key)
    const copy = { Bucket, Key: 'never', CopySource: `${Bucket}/locked-source` }
    for (const wrong of [{}, asSource(customer())]) {
      await expect(s3.send(new CopyObjectCommand({ ...copy, ...wrong }))).rejects.toMatchObject({
        name: 'InvalidRequest',
      })
    }
    await expect(head('never')).rejects.toMatchObject({ name: 'NotFound' })
  })

  test('onto itself may change the encryption alone', async () => {
    const body = randomBytes(100)
    await put('self', body)
    const copy = { Bucket, Key: 'self', CopySource: `${Bucket}/self` }
    await expect(s3.send(new CopyObjectCommand(copy))).rejects.toMatchObject({ name: 'InvalidRequest' })
    await s3.send(new CopyObjectCommand({ ...copy, ServerSideEncryption: 'AES256' }))
    expect((await head('self')).ServerSideEncryption).toBe('AES256')
    expect((await get('self')).equals(body)).toBe(true)
    expect((await storedBytes('self')).equals(body)).toBe(false)
  })
})

describe('with the master key (SSE-S3)', () => {
  test.each(SIZES)('%i bytes come back without a key, and are not stored as they are', async (size) => {
    const body = randomBytes(size)
    const written = await put(`s3/${size}`, body, { ServerSideEncryption: 'AES256' })
    expect(written).toMatchObject({ ServerSideEncryption: 'AES256', ETag: `"${md5(body)}"` })
    expect((await head(`s3/${size}`)).ServerSideEncryption).toBe('AES256')
    expect((await get(`s3/${size}`)).equals(body)).toBe(true)
    if (size > 0) expect((await storedBytes(`s3/${size}`)).equals(body)).toBe(false)
  })

  test('multipart uploads', async () => {
    const sizes = [5 * MIB, 5 * MIB + 5, 9]
    const body = await multipart('s3/parts', sizes, { ServerSideEncryption: 'AES256' })
    expect((await get('s3/parts')).equals(body)).toBe(true)
    const first = sizes[0]! - 20
    const across = await get('s3/parts', { Range: `bytes=${first}-${first + 40}` })
    expect(across.equals(body.subarray(first, first + 41))).toBe(true)
    expect((await head('s3/parts')).ServerSideEncryption).toBe('AES256')
  }, 60_000)

  test("is a bucket's default if it says so, and until it does not any more", async () => {
    const bucket = { Bucket: 'by-default' }
    await s3.send(new CreateBucketCommand(bucket))
    const configuration = () => s3.send(new GetBucketEncryptionCommand(bucket))
    await expect(configuration()).rejects.toMatchObject({
      name: 'ServerSideEncryptionConfigurationNotFoundError',
    })
    const Rules = [
      { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' as const }, BucketKeyEnabled: true },
    ]
    await s3.send(new PutBucketEncryptionCommand({ ...bucket, ServerSideEncryptionConfiguration: { Rules } }))
    expect((await configuration()).ServerSideEncryptionConfiguration?.Rules).toEqual(Rules)
    const written = await s3.send(new PutObjectCommand({ ...bucket, Key: 'k', Body: 'x' }))
    expect(written.ServerSideEncryption).toBe('AES256')
    const upload = await s3.send(new CreateMultipartUploadCommand({ ...bucket, Key: 'k' }))
    expect(upload.ServerSideEncryption).toBe('AES256')
    await s3.send(new DeleteBucketEncryptionCommand(bucket))
    await expect(configuration()).rejects.toMatchObject({
      name: 'ServerSideEncryptionConfigurationNotFoundError',
    })
    const plain = await s3.send(new PutObjectCommand({ ...bucket, Key: 'k', Body: 'x' }))
    expect(plain.ServerSideEncryption).toBeUndefined()
  })

  test('KMS is refused, for objects, uploads and buckets', async () => {
    const kms = { ServerSideEncryption: 'aws:kms' as const, SSEKMSKeyId: 'k' }
    await expect(put('kms', randomBytes(1), kms)).rejects.toMatchObject({ name: 'NotImplemented' })
    await expect(
      s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'kms', ...kms })),
    ).rejects.toMatchObject({ name: 'NotImplemented' })
    const Rules = [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' as const } }]
    await expect(
      s3.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration: { Rules } })),
    ).rejects.toMatchObject({ name: 'NotImplemented' })
    await expect(put('kms', randomBytes(1), { SSEKMSKeyId: 'k' })).rejects.toMatchObject({
      name: 'InvalidArgument',
    })
    await expect(head('kms')).rejects.toMatchObject({ name: 'NotFound' })
  })
})

describe('contents that somebody changed on the disk', () => {
  const body = randomBytes(3 * MIB + 500)
  const kinds = [
    ['SSE-C', customer()],
    ['SSE-S3', { ServerSideEncryption: 'AES256' as const }],
  ] as const

  test.each(kinds)(
    'under %s: blocks with bits flipped and the checksum mended are not read',
    async (kind, key) => {
      const reading = kind === 'SSE-C' ? key : {}
      const Key = `flipped/${kind}`
      await put(Key, body, key)
      const [, second] = await blockFiles(Key)
      const file = readFileSync(second!)
      for (const at of [0, 5000, file.length - 17, file.length - 1]) {
        const payload = Buffer.from(file.subarray(16))
        payload[Math.min(at, payload.length - 1)]! ^= 4
        writeFileSync(second!, forgedBlock(file, payload))
        const { received, failed } = await receivedBytes(Key, reading)
        expect(failed).toBe(true)
        expect(received.equals(body.subarray(0, received.length))).toBe(true)
        expect(received.length).toBeLessThanOrEqual(MIB)
        const range = { ...reading, Range: `bytes=${MIB + 10}-${MIB + 20}` }
        expect(await receivedBytes(Key, range)).toMatchObject({ failed: true, received: Buffer.alloc(0) })
      }
      writeFileSync(second!, file)
      expect((await get(Key, reading)).equals(body)).toBe(true)
    },
  )

  test.each(kinds)(
    'under %s: blocks that changed places, also with another version, are not read',
    async (kind, key) => {
      const reading = kind === 'SSE-C' ? key : {}
      const Key = `swapped/${kind}`
      await put(Key, body, key)
      await put(`${Key}/other`, body, key)
      const own = await blockFiles(Key)
      const others = await blockFiles(`${Key}/other`)
      const file = readFileSync(own[0]!)
      for (const from of [own[1]!, own[2]!, others[0]!]) {
        writeFileSync(own[0]!, readFileSync(from))
        expect(await receivedBytes(Key, reading)).toMatchObject({ failed: true, received: Buffer.alloc(0) })
      }
      writeFileSync(own[0]!, file)
      expect((await get(Key, reading)).equals(body)).toBe(true)
    },
  )
})

test('contents of unknown length are read back, wherever their last block ends', async () => {
  const { model } = node.core
  const { id: bucket } = (await model.buckets.byName(Bucket, undefined))!
  for (const size of [1, 65_536, 65_537, MIB, MIB + 1, 2 * MIB]) {
    const content = randomBytes(size)
    const [key, iv] = [randomBytes(32), randomBytes(16)]
    const stored = await model.blobs.write(
      {
        length: undefined,
        readAll: () => Promise.reject(new Error('the length is not known')),
        async *stream() {
          for (let at = 0; at < size; at += 50_000) yield content.subarray(at, at + 50_000)
        },
      },
      { cipher: contentSealer(2, key, iv) },
    )
    const place = { bucket, owner: randomBytes(16), key: Buffer.from('unknown') }
    const version = {
      ...{ bucket, id: place.owner, body: stored.body },
      content: contentOf(stored, place).content,
    }
    const read: Buffer[] = []
    const cipher = contentOpener(2, key, iv, size)
    for await (const chunk of model.blobs.read(version, 0, size, { cipher })) read.push(Buffer.from(chunk))
    expect(Buffer.concat(read).equals(content)).toBe(true)
  }
})

describe('objects that the first version encrypted, in counter mode', () => {
  const masterKeys = new MasterKeys([Buffer.from('cd'.repeat(32), 'hex')])

  async function putOlder(Key: string, content: Buffer): Promise<void> {
    const { model } = node.core
    const bucket = (await model.buckets.byName(Bucket, undefined))!
    const [dataKey, iv] = [randomBytes(32), randomBytes(16)]
    const { encryption } = masterKeys.wrap(bucket.id, systemRandom, { dataKey, format: undefined })!
    const stored = await model.blobs.write(
      {
        length: content.length,
        readAll: () => Promise.resolve(content),
        async *stream() {
          yield content
        },
      },
      { cipher: contentSealer(undefined, dataKey, iv) },
    )
    const version = {
      ...{ bucket: bucket.id, key: Buffer.from(Key), etag: stored.md5, etagParts: 0, owner: '' },
      ...{ headers: {}, metadata: {}, mutable: {}, encryption: { ...encryption, iv } },
    }
    await model.objects.put(version, stored, 'off')
  }

  test.each([1000, 2 * MIB + 7])('%i bytes are read, in ranges too, and copied', async (size) => {
    const content = randomBytes(size)
    const Key = `older/${size}`
    await putOlder(Key, content)
    expect((await get(Key)).equals(content)).toBe(true)
    expect((await get(Key, { Range: 'bytes=100-299' })).equals(content.subarray(100, 300))).toBe(true)
    const copy = { Bucket, CopySource: `${Bucket}/${Key}` }
    await s3.send(new CopyObjectCommand({ ...copy, Key: `${Key}/kept`, ServerSideEncryption: 'AES256' }))
    expect((await get(`${Key}/kept`)).equals(content)).toBe(true)
    expect((await storedBytes(`${Key}/kept`)).length).toBe(size)
    const key = customer()
    await s3.send(new CopyObjectCommand({ ...copy, Key: `${Key}/anew`, ...key }))
    expect((await get(`${Key}/anew`, key)).equals(content)).toBe(true)
    expect((await storedBytes(`${Key}/anew`)).length).toBeGreaterThan(size)
  })
})

test('without a master key, AES256 is refused and nothing is stored in the clear instead', async () => {
  const bare = await startTestNode({ secrets: { sseMasterKeys: [] } })
  try {
    const client = bare.client(await bare.createKey('bare'))
    await client.send(new CreateBucketCommand({ Bucket }))
    const object = { Bucket, Key: 'k', Body: 'x', ServerSideEncryption: 'AES256' as const }
    await expect(client.send(new PutObjectCommand(object))).rejects.toMatchObject({ name: 'InvalidRequest' })
    const Rules = [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' as const } }]
    await expect(
      client.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration: { Rules } })),
    ).rejects.toMatchObject({ name: 'InvalidRequest' })
    expect((await client.send(new ListObjectsV2Command({ Bucket }))).KeyCount).toBe(0)
  } finally {
    await bare.dispose()
  }
})
