/** `carport migrate --minio` from the real MinIO, where MINIO_BINARY names it. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { expect, onTestFinished, test } from 'vitest'
import { freePorts } from '../bench/stores/server-process.js'
import { S3Client as PlainClient } from '../src/api/client/s3-client.js'
import { realClock, systemRandom } from '../src/platform/clock-and-random.js'
import { streamCall } from '../src/platform/stream-call.js'
import { PROGRAM, ProcessCluster } from './support/processes.js'
import { MINIO_EXPORT, zipOf } from './support/zip.js'

const run = promisify(execFile)
const MINIO = process.env.MINIO_BINARY ?? join(homedir(), 'go/bin/minio')
const ROOT = { accessKeyId: 'minio-root', secretAccessKey: 'minio-root-secret' }
const MIB = 1 << 20

test('MinIO moves in with its users, access keys, quotas, versions and settings', async (context) => {
  context.skip(!existsSync(MINIO), `there is no MinIO at ${MINIO}`)
  const dir = mkdtempSync(join(tmpdir(), 'carport-from-minio-'))
  const [port, console] = (await freePorts(2)) as [number, number]
  const endpoint = `http://127.0.0.1:${port}`
  const server = spawn(
    MINIO,
    ['server', dir, '--address', `127.0.0.1:${port}`, '--console-address', `127.0.0.1:${console}`],
    {
      stdio: 'ignore',
      env: { MINIO_ROOT_USER: ROOT.accessKeyId, MINIO_ROOT_PASSWORD: ROOT.secretAccessKey, HOME: dir },
    },
  )
  const to = await ProcessCluster.create(1, 1)
  onTestFinished(async () => {
    server.kill('SIGKILL')
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
    await to.dispose()
    rmSync(dir, { recursive: true, force: true })
  })
  while (!(await fetch(`${endpoint}/minio/health/ready`).catch(() => undefined))?.ok);
  const clientAt = (address: string, credentials: typeof ROOT) =>
    new S3Client({ endpoint: address, region: 'us-east-1', forcePathStyle: true, credentials })
  const source = clientAt(endpoint, ROOT)
  const root = new PlainClient(
    {
      ...{ endpoint, region: 'us-east-1' },
      credentials: { accessKeyId: ROOT.accessKeyId, secret: ROOT.secretAccessKey },
    },
    { call: streamCall(30_000), clock: realClock, random: systemRandom },
  )
  for (const Bucket of ['photos', 'docs']) await source.send(new CreateBucketCommand({ Bucket }))
  const admin = (key: string, body: Buffer | string, query = {}) =>
    root.bytes({
      method: 'PUT',
      bucket: 'minio',
      key: `admin/v3/${key}`,
      query,
      body: Buffer.from(body as string),
    })
  await admin('import-iam', zipOf(MINIO_EXPORT))
  await admin('set-bucket-quota', JSON.stringify({ quota: 10 * MIB, size: 10 * MIB, quotatype: 'hard' }), {
    bucket: 'docs',
  })
  const Bucket = 'photos'
  await source.send(
    new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }),
  )
  const put = (Key: string, Body: string, more = {}) =>
    source.send(new PutObjectCommand({ Bucket, Key, Body, ...more }))
  await put('k', 'one')
  await put('k', 'two', { Metadata: { a: 'b' }, Tagging: 'x=y', ContentType: 'text/plain' })
  await put('gone', 'x')
  await source.send(new DeleteObjectCommand({ Bucket, Key: 'gone' }))
  const { UploadId } = await source.send(new CreateMultipartUploadCommand({ Bucket, Key: 'parts' }))
  const Parts = []
  for (const [i, size] of [5 * MIB, 100].entries()) {
    const part = { Bucket, Key: 'parts', UploadId, PartNumber: i + 1, Body: Buffer.alloc(size, 'p') }
    Parts.push({ PartNumber: i + 1, ETag: (await source.send(new UploadPartCommand(part))).ETag })
  }
  const parts = await source.send(
    new CompleteMultipartUploadCommand({ Bucket, Key: 'parts', UploadId, MultipartUpload: { Parts } }),
  )
  await source.send(
    new PutBucketLifecycleConfigurationCommand({
      ...{ Bucket },
      LifecycleConfiguration: {
        Rules: [{ ID: 'r', Status: 'Enabled', Filter: { Prefix: 'tmp/' }, Expiration: { Days: 3 } }],
      },
    }),
  )
  const statement = { Effect: 'Allow', Principal: { AWS: ['*'] }, Action: ['s3:GetObject'] }
  const Policy = JSON.stringify({
    Version: '2012-10-17',
    Statement: [{ ...statement, Resource: ['arn:aws:s3:::photos/pub/*'] }],
  })
  await source.send(new PutBucketPolicyCommand({ Bucket, Policy }))
  for (const Key of ['d', 'public/p'])
    await source.send(new PutObjectCommand({ Bucket: 'docs', Key, Body: 'doc' }))
  const times = async (client: S3Client) => {
    const { Versions, DeleteMarkers } = await client.send(new ListObjectVersionsCommand({ Bucket }))
    return [...Versions!, ...DeleteMarkers!].map(({ Key, LastModified }) => [
      Key,
      LastModified!.toISOString(),
    ])
  }

  await to.startAndLayOut()
  const [program, ...first] = PROGRAM
  const words = [
    ...[...first, '-c', join(to.dir, 'n0.toml'), 'migrate', endpoint, '--minio', '--json'],
    ...['--endpoint', to.endpoint(0), '--journal', join(to.dir, 'journal')],
  ]
  const env = {
    PATH: process.env.PATH,
    CARPORT_MIGRATE_ACCESS_KEY_ID: ROOT.accessKeyId,
    CARPORT_MIGRATE_SECRET_ACCESS_KEY: ROOT.secretAccessKey,
  }
  const migrate = async (...more: string[]) =>
    JSON.parse((await run(program, [...words, ...more], { env })).stdout) as Record<string, string[]>
  const plan = await migrate('--dry-run')
  expect(plan.notCarried!.join('\n')).toMatch(/user carol: it is disabled/)
  const moved = await migrate()
  expect(moved).toMatchObject({ copied: 7, failed: [] })
  expect(moved.notCarried!.filter((line) => /refuses/.test(line))).toEqual([])
  expect(await migrate('--verify')).toMatchObject({ verified: 7, differences: [] })

  const alice = clientAt(to.endpoint(0), { accessKeyId: 'alice', secretAccessKey: 'alice-secret-key' })
  const got = await alice.send(new GetObjectCommand({ Bucket, Key: 'k' }))
  expect([await got.Body!.transformToString(), got.Metadata, got.TagCount]).toEqual(['two', { a: 'b' }, 1])
  const { Versions, DeleteMarkers } = await alice.send(new ListObjectVersionsCommand({ Bucket }))
  expect([Versions!.length, DeleteMarkers!.length]).toEqual([4, 1])
  const head = await alice.send(new HeadObjectCommand({ Bucket, Key: 'parts', PartNumber: 2 }))
  expect([head.ETag, head.ContentLength]).toEqual([parts.ETag, 100])
  const app = clientAt(to.endpoint(0), {
    accessKeyId: 'ALICEAPP00000000',
    secretAccessKey: 'alice-app-secret',
  })
  await app.send(new GetObjectCommand({ Bucket: 'docs', Key: 'd' }))
  await expect(app.send(new PutObjectCommand({ Bucket, Key: 'no', Body: '' }))).rejects.toMatchObject({
    name: 'AccessDenied',
  })
  expect(await times(alice)).toEqual(await times(source))

  // Bob has rights to parts of both: here he may do the same as there.
  const bobAt = (at: string) => clientAt(at, { accessKeyId: 'bob', secretAccessKey: 'bob-secret-key' })
  const does = async (client: S3Client) => {
    const home = (Key: string) => ({ Bucket, Key: `home/${Key}` })
    const results: string[] = []
    for (const command of [
      new GetObjectCommand({ Bucket: 'docs', Key: 'public/p' }),
      new GetObjectCommand({ Bucket: 'docs', Key: 'd' }),
      new PutObjectCommand({ Bucket: 'docs', Key: 'public/p', Body: 'x' }),
      new ListObjectsV2Command({ Bucket: 'docs' }),
      new PutObjectCommand({ ...home('bob/a'), Body: 'a' }),
      new GetObjectCommand(home('bob/a')),
      new PutObjectCommand({ ...home('alice/a'), Body: 'a' }),
      new PutObjectCommand({ ...home('bob/kept/a'), Body: 'a' }),
      new DeleteObjectCommand(home('bob/kept/a')),
      new DeleteObjectCommand(home('bob/a')),
      new ListObjectsV2Command({ Bucket, Prefix: 'home/bob/' }),
      new ListObjectsV2Command({ Bucket, Prefix: 'home/' }),
      new ListObjectsV2Command({ Bucket }),
    ])
      results.push(
        await client.send(command as GetObjectCommand).then(
          () => 'done',
          (error: Error) => error.name,
        ),
      )
    client.destroy()
    return results
  }
  const there = await does(bobAt(endpoint))
  expect(there.filter((result) => result === 'done')).toHaveLength(6)
  expect(await does(bobAt(to.endpoint(0)))).toEqual(there)
  const info = JSON.parse(await to.cli(0, 'bucket', 'info', 'docs', '--json')) as object
  expect(info).toMatchObject({ quotas: { maxSize: 10 * MIB } })
  for (const client of [source, alice, app]) client.destroy()
})
