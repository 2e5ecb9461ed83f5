/** `carport migrate` and `carport export` with the real Garage, where it is installed. */
import { execFile } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetBucketCorsCommand,
  GetBucketWebsiteCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutBucketCorsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { expect, onTestFinished, test, vi } from 'vitest'
import { freePorts } from '../bench/stores/server-process.js'
import { K2vClient } from '../src/client/k2v.js'
import { GARAGE, GARAGE_TOKEN, hasGarage, startGarage } from './support/garage.js'
import { PROGRAM, ProcessCluster } from './support/processes.js'

const run = promisify(execFile)
// Each run of the program is a process, which takes its time on a loaded machine.
vi.setConfig({ testTimeout: 180_000 })

test('Garage moves in with its keys, names, quotas, web site, objects and K2V items', async (context) => {
  context.skip(!hasGarage, 'Garage is not installed')
  const garage = await startGarage()
  onTestFinished(() => garage.dispose())
  const [k2vPort] = (await freePorts(1)) as [number]
  const to = await ProcessCluster.create(1, 1, `[k2v_api]\napi_bind_addr = "127.0.0.1:${k2vPort}"`)
  onTestFinished(() => to.dispose())
  const key = await garage.createKey('app')
  for (const words of [
    ['create', 'photos'],
    ['alias', 'photos', 'pictures'],
    ['allow', '--read', '--write', '--owner', 'photos', '--key', 'app'],
    ['alias', '--local', key.accessKeyId, 'photos', 'mine'],
    ['set-quotas', 'photos', '--max-objects', '1000'],
    ['website', '--allow', 'photos', '-i', 'home.html'],
  ])
    await garage.cli('bucket', ...words)
  const clientAt = (endpoint: string) =>
    new S3Client({ endpoint, region: 'garage', forcePathStyle: true, credentials: key })
  const source = clientAt(garage.s3)
  const Metadata = { camera: 'old', note: 'x'.repeat(5000) }
  const jpeg = { Bucket: 'photos', Key: 'a b/ü.jpg', ContentType: 'image/jpeg', Metadata }
  await source.send(new PutObjectCommand({ ...jpeg, Body: 'jpeg' }))
  const large = { Bucket: 'photos', Key: 'large' }
  await source.send(new PutObjectCommand({ ...large, Body: Buffer.alloc(3 << 20, 'x') }))
  // Garage takes parts of any size.
  const parts = { Bucket: 'photos', Key: 'parts' }
  const { UploadId } = await source.send(new CreateMultipartUploadCommand(parts))
  const Parts = []
  for (const PartNumber of [1, 2, 3]) {
    const part = { ...parts, UploadId, PartNumber, Body: `part ${PartNumber}` }
    Parts.push({ PartNumber, ETag: (await source.send(new UploadPartCommand(part))).ETag })
  }
  const completed = await source.send(
    new CompleteMultipartUploadCommand({ ...parts, UploadId, MultipartUpload: { Parts } }),
  )
  const timesOf = async (client: S3Client) =>
    (await client.send(new ListObjectsV2Command({ Bucket: 'photos' }))).Contents!.map(
      ({ Key, LastModified }) => [Key, LastModified!.toISOString()],
    )
  const times = await timesOf(source)
  source.destroy()

  const k2vAt = (endpoint: string) =>
    new K2vClient({ ...{ endpoint, bucket: 'photos', region: 'garage' }, ...key })
  const [k2vFrom, k2vTo] = [k2vAt(garage.k2v), k2vAt(`http://127.0.0.1:${k2vPort}`)]
  const insert = (...writes: [partitionKey: string, sortKey: string, value: string | null][]) =>
    k2vFrom.insertBatch(writes.map(([partitionKey, sortKey, value]) => ({ partitionKey, sortKey, value })))
  await insert(['mails/ü', 'inbox', 'one'], ['mails/ü', '', 'no sort key'], ['other', 'x', 'y'])
  // Two writers who did not see each other, and one who deleted meanwhile.
  await insert(['mails/ü', 'inbox', 'two'])
  await insert(['deleted beside', 'k', 'kept'])
  await insert(['deleted beside', 'k', null])

  await to.startAndLayOut()
  const ends = [
    ...[garage.s3, '--region', 'garage', '--endpoint', to.endpoint(0), '--json'],
    ...['--k2v-endpoint', `http://127.0.0.1:${k2vPort}`],
  ]
  const carport = async (env: object, ...words: string[]) => {
    const [program, ...first] = PROGRAM
    const all = [...first, '-c', join(to.dir, 'n0.toml'), ...words]
    const { stdout } = await run(program, all, { env: { PATH: process.env.PATH, ...env } })
    return JSON.parse(stdout) as Record<string, unknown>
  }
  const migrate = (...more: string[]) => {
    const words = ['--admin', garage.admin, '--k2v', garage.k2v, '--relaxed', '--journal', join(to.dir, 'in')]
    return carport({ CARPORT_MIGRATE_ADMIN_TOKEN: GARAGE_TOKEN }, 'migrate', ...ends, ...words, ...more)
  }
  expect(await migrate('--dry-run')).toMatchObject({ found: 7, toCopy: 7, failed: [] })
  expect(await migrate()).toMatchObject({ copied: 7, failed: [] })
  expect(await migrate()).toMatchObject({ copied: 0, unchanged: 7 })
  expect(await migrate('--verify')).toMatchObject({ verified: 7, differences: [] })

  // The application changes nothing but the address.
  const target = clientAt(to.endpoint(0))
  expect(await timesOf(target)).toEqual(times)
  const head = await target.send(new HeadObjectCommand({ Bucket: 'mine', Key: 'a b/ü.jpg' }))
  expect([head.ContentType, head.Metadata]).toEqual(['image/jpeg', Metadata])
  const got = await target.send(new GetObjectCommand({ Bucket: 'pictures', Key: 'a b/ü.jpg' }))
  expect(await got.Body!.transformToString()).toBe('jpeg')
  const whole = await target.send(new GetObjectCommand(parts))
  expect([whole.ETag, await whole.Body!.transformToString()]).toEqual([completed.ETag, 'part 1part 2part 3'])
  const site = await target.send(new GetBucketWebsiteCommand({ Bucket: 'photos' }))
  expect(site.IndexDocument?.Suffix).toBe('home.html')
  target.destroy()
  const info = JSON.parse(await to.cli(0, 'bucket', 'info', 'photos', '--json')) as Record<string, unknown>
  expect(info).toMatchObject({ quotas: { maxObjects: 1000, maxSize: null } })
  const values = async (client: K2vClient, pk: string, sk: string) =>
    (await client.readItem(pk, sk))!.values.map((value) => value && new TextDecoder().decode(value)).sort()
  for (const [pk, sk] of [
    ['mails/ü', 'inbox'],
    ['deleted beside', 'k'],
  ] as const)
    expect([pk, sk, await values(k2vTo, pk, sk)]).toEqual([pk, sk, await values(k2vFrom, pk, sk)])

  // Garage reads such an item only in a batch.
  expect(await values(k2vTo, 'mails/ü', '')).toEqual(['no sort key'])

  // A later run takes what changed, and nothing that was written here since.
  await insert(['other', 'x', 'z'])
  await k2vTo.insertItem('mails/ü', '', 'ours')
  expect(await migrate()).toMatchObject({ copied: 1, unchanged: 6, failed: [] })
  expect(await values(k2vTo, 'other', 'x')).toEqual(await values(k2vFrom, 'other', 'x'))
  expect(await values(k2vTo, 'mails/ü', '')).toHaveLength(2)

  // The way back, by a key that may use the bucket there.
  const back = (...more: string[]) => {
    const env = {
      CARPORT_MIGRATE_ACCESS_KEY_ID: key.accessKeyId,
      CARPORT_MIGRATE_SECRET_ACCESS_KEY: key.secretAccessKey,
    }
    const words = ['--bucket', 'photos', '--journal', join(to.dir, 'out')]
    return carport(env, 'export', ...ends, ...words, ...more)
  }
  await k2vTo.insertItem('new here', 'k', 'v')
  const told = (await back('--dry-run')) as { notCarried: string[] }
  expect(told.notCarried).toContainEqual(expect.stringMatching(/^K2V items: .*--k2v/))
  const k2v = ['--k2v', garage.k2v]
  expect(await back(...k2v)).toMatchObject({ copied: 2, unchanged: 6, failed: [] })
  expect(await values(k2vFrom, 'new here', 'k')).toEqual(['v'])
  expect(await back('--verify', ...k2v)).toMatchObject({ verified: 8, differences: [] })
})

test('an older Garage moves in, and one by its command line; a bucket shadows it, and goes back to it', async (context) => {
  context.skip(!hasGarage, 'Garage is not installed')
  const garage = await startGarage()
  onTestFinished(() => garage.dispose())
  // Garage 1.x has no version 2 of its admin API.
  const old = createServer((request, response) => {
    if (request.url!.startsWith('/v2/')) return response.writeHead(400).end('{}')
    const { method = 'GET', headers } = request
    const { authorization = '' } = headers
    return void fetch(`${garage.admin}${request.url}`, { method, headers: { authorization } }).then(
      async (answer) => response.writeHead(answer.status).end(await answer.text()),
    )
  })
  await new Promise<void>((resolve) => old.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void old.close())
  const to = await ProcessCluster.create(1, 1)
  onTestFinished(() => to.dispose())
  const key = await garage.createKey('app')
  await garage.cli('key', 'allow', '--create-bucket', key.accessKeyId)
  const clientAt = (endpoint: string) =>
    new S3Client({ endpoint, region: 'garage', forcePathStyle: true, credentials: key })
  const source = clientAt(garage.s3)
  await garage.cli('bucket', 'create', 'site')
  await garage.cli('bucket', 'allow', '--read', '--write', '--owner', 'site', '--key', 'app')
  await garage.cli('bucket', 'website', '--allow', 'site', '-i', 'home.html')
  await garage.cli('bucket', 'set-quotas', 'site', '--max-size', '5GiB')
  const CORSRules = [{ AllowedMethods: ['GET'], AllowedOrigins: ['https://a.example'] }]
  await source.send(new PutBucketCorsCommand({ Bucket: 'site', CORSConfiguration: { CORSRules } }))
  const put = (client: S3Client, Key: string, Body: string) =>
    client.send(new PutObjectCommand({ Bucket: 'site', Key, Body, Metadata: { a: 'b' } }))
  await put(source, 'home.html', '<p>')

  await to.startAndLayOut()
  const carport = async (...words: string[]) => {
    const [program, ...first] = PROGRAM
    const env = {
      PATH: process.env.PATH,
      CARPORT_MIGRATE_ADMIN_TOKEN: GARAGE_TOKEN,
      CARPORT_MIGRATE_ACCESS_KEY_ID: key.accessKeyId,
      CARPORT_MIGRATE_SECRET_ACCESS_KEY: key.secretAccessKey,
    }
    const all = [...first, '-c', join(to.dir, 'n0.toml'), ...words, '--json']
    return JSON.parse((await run(program, all, { env })).stdout) as Record<string, string[]>
  }
  const ends = (journal: string) => ['--endpoint', to.endpoint(0), '--journal', join(to.dir, journal)]
  const from = [garage.s3, '--region', 'garage']
  const oldAdmin = `http://127.0.0.1:${(old.address() as AddressInfo).port}`
  expect(await carport('migrate', ...from, '--admin', oldAdmin, ...ends('old'))).toMatchObject({
    ...{ copied: 1, failed: [] },
  })
  const target = clientAt(to.endpoint(0))
  const cors = await target.send(new GetBucketCorsCommand({ Bucket: 'site' }))
  expect(cors.CORSRules![0]).toMatchObject(CORSRules[0]!)
  const site = await target.send(new GetBucketWebsiteCommand({ Bucket: 'site' }))
  expect(site.IndexDocument?.Suffix).toBe('home.html')
  const info = JSON.parse(await to.cli(0, 'bucket', 'info', 'site', '--json')) as object
  expect(info).toMatchObject({ quotas: { maxSize: 5 * 2 ** 30 } })

  const command = `${GARAGE} -c ${garage.config}`
  expect(await carport('migrate', ...from, '--json-api', command, ...ends('cli'))).toMatchObject({
    ...{ copied: 0, unchanged: 1, failed: [] },
  })

  // Applications write here from now on, before the rest is here.
  await put(source, 'old', 'old')
  await put(source, 'read', 'read')
  await put(source, 'deleted', 'x')
  const { shadow } = await carport('bucket', 'shadow', 'site', garage.s3, '--region', 'garage')
  expect(shadow).toEqual({
    ...{ endpoint: garage.s3, region: 'garage', bucket: 'site', accessKeyId: key.accessKeyId },
  })
  const text = async (Key: string) =>
    (await target.send(new GetObjectCommand({ Bucket: 'site', Key }))).Body!.transformToString()
  expect(await text('read')).toBe('read')
  await put(target, 'home.html', '<p>new')
  await target.send(new DeleteObjectCommand({ Bucket: 'site', Key: 'deleted' }))
  const keys = async (client: S3Client) =>
    (await client.send(new ListObjectsV2Command({ Bucket: 'site' }))).Contents!.map(({ Key }) => Key)
  expect(await keys(target)).toEqual(['home.html', 'old', 'read'])
  const filled = await carport('migrate', ...from, '--bucket', 'site', ...ends('fill'))
  expect(filled).toMatchObject({ failed: [] })
  expect(await carport('bucket', 'shadow', 'site')).toEqual({ shadow: null })
  expect(await keys(target)).toEqual(['home.html', 'old', 'read'])
  expect([await text('home.html'), await text('old')]).toEqual(['<p>new', 'old'])

  // The way back.
  const back = ['export', ...from, '--bucket', 'site', ...ends('back')]
  expect(await carport(...back)).toMatchObject({ copied: 1, unchanged: 2, failed: [] })
  expect(await carport(...back)).toMatchObject({ copied: 0, unchanged: 3 })
  await source.send(new DeleteObjectCommand({ Bucket: 'site', Key: 'deleted' }))
  expect(await carport(...back, '--verify')).toMatchObject({ verified: 3, differences: [] })
  const head = await source.send(new HeadObjectCommand({ Bucket: 'site', Key: 'home.html' }))
  expect([head.ContentLength, head.Metadata]).toEqual([6, { a: 'b' }])
  source.destroy()
  target.destroy()
})
