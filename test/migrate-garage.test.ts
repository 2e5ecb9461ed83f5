/** `carport migrate` from the real Garage, where it is installed. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  GetBucketWebsiteCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { expect, onTestFinished, test } from 'vitest'
import { freePorts } from '../bench/stores/server-process.js'
import { PROGRAM, ProcessCluster } from './support/processes.js'

const run = promisify(execFile)
const GARAGE = process.env.GARAGE_BINARY ?? join(homedir(), '.cargo/bin/garage')
const TOKEN = 'garage-admin-token'

test('Garage moves in with its keys, names, quotas, web site and objects', async (context) => {
  context.skip(!existsSync(GARAGE), `there is no Garage at ${GARAGE}`)
  const dir = mkdtempSync(join(tmpdir(), 'carport-from-garage-'))
  const [s3, rpc, admin] = await freePorts(3)
  const config = join(dir, 'garage.toml')
  writeFileSync(
    config,
    `metadata_dir = "${dir}/meta"
data_dir = "${dir}/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:${rpc}"
rpc_public_addr = "127.0.0.1:${rpc}"
rpc_secret = "${'1c'.repeat(32)}"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:${s3}"
[admin]
api_bind_addr = "127.0.0.1:${admin}"
admin_token = "${TOKEN}"
`,
  )
  const server = spawn(GARAGE, ['-c', config, 'server'], { stdio: 'ignore' })
  const to = await ProcessCluster.create(1, 1)
  onTestFinished(async () => {
    server.kill('SIGKILL')
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
    await to.dispose()
    rmSync(dir, { recursive: true, force: true })
  })
  const garage = async (...words: string[]) => (await run(GARAGE, ['-c', config, ...words])).stdout
  const api = async (endpoint: string, body?: object) => {
    const answer = await fetch(`http://127.0.0.1:${admin}/v2/${endpoint}`, {
      headers: { authorization: `Bearer ${TOKEN}` },
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
    })
    expect([endpoint, answer.status]).toEqual([endpoint, 200])
    return (await answer.json()) as Record<string, string>
  }
  while (!(await fetch(`http://127.0.0.1:${admin}/health`).catch(() => undefined)));
  const node = (await garage('node', 'id', '-q')).split('@')[0]!.trim()
  await garage('layout', 'assign', '-z', 'dc1', '-c', '1G', node)
  await garage('layout', 'apply', '--version', '1')
  const made = await api('CreateKey', { name: 'app' })
  const key = { accessKeyId: made.accessKeyId!, secretAccessKey: made.secretAccessKey! }
  for (const words of [
    ['create', 'photos'],
    ['alias', 'photos', 'pictures'],
    ['allow', '--read', '--write', '--owner', 'photos', '--key', 'app'],
    ['alias', '--local', key.accessKeyId, 'photos', 'mine'],
    ['set-quotas', 'photos', '--max-objects', '1000'],
    ['website', '--allow', 'photos', '-i', 'home.html'],
  ])
    await garage('bucket', ...words)
  const clientAt = (endpoint: string) =>
    new S3Client({ endpoint, region: 'garage', forcePathStyle: true, credentials: key })
  const source = clientAt(`http://127.0.0.1:${s3}`)
  const Metadata = { camera: 'old' }
  await source.send(
    new PutObjectCommand({
      Bucket: 'photos',
      Key: 'a b/ü.jpg',
      Body: 'jpeg',
      ContentType: 'image/jpeg',
      Metadata,
    }),
  )
  await source.send(
    new PutObjectCommand({ Bucket: 'photos', Key: 'large', Body: Buffer.alloc(3 << 20, 'x') }),
  )
  source.destroy()

  await to.startAndLayOut()
  const words = [
    ...['-c', join(to.dir, 'n0.toml'), 'migrate', `http://127.0.0.1:${s3}`, '--region', 'garage'],
    ...['--admin', `http://127.0.0.1:${admin}`, '--endpoint', to.endpoint(0)],
    ...['--journal', join(to.dir, 'journal'), '--json'],
  ]
  const migrate = async (...more: string[]) => {
    const [program, ...first] = PROGRAM
    const env = { PATH: process.env.PATH, CARPORT_MIGRATE_ADMIN_TOKEN: TOKEN }
    return JSON.parse((await run(program, [...first, ...words, ...more], { env })).stdout) as Record<
      string,
      unknown
    >
  }
  expect(await migrate()).toMatchObject({ copied: 2, failed: [] })
  expect(await migrate()).toMatchObject({ copied: 0, unchanged: 2 })
  expect(await migrate('--verify')).toMatchObject({ verified: 2, differences: [] })

  // The application changes nothing but the address.
  const target = clientAt(to.endpoint(0))
  const head = await target.send(new HeadObjectCommand({ Bucket: 'mine', Key: 'a b/ü.jpg' }))
  expect([head.ContentType, head.Metadata]).toEqual(['image/jpeg', Metadata])
  const got = await target.send(new GetObjectCommand({ Bucket: 'pictures', Key: 'a b/ü.jpg' }))
  expect(await got.Body!.transformToString()).toBe('jpeg')
  const site = await target.send(new GetBucketWebsiteCommand({ Bucket: 'photos' }))
  expect(site.IndexDocument?.Suffix).toBe('home.html')
  target.destroy()
  const info = JSON.parse(await to.cli(0, 'bucket', 'info', 'photos', '--json')) as Record<string, unknown>
  expect(info).toMatchObject({ quotas: { maxObjects: 1000, maxSize: null } })
})
