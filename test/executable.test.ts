/**
 * The program in one file: what it was made of, and, when vitest.executable.config.ts names one, what it does by itself.
 * The same configuration runs other end-to-end tests on it.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  GetObjectCommand,
  PutBucketNotificationConfigurationCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePorts } from '../bench/stores/server-process.js'
import { platformOf } from '../deploy/executable/inspect.js'
import { lockedPackages } from '../deploy/executable/registry.js'
import { ADDONS, addonFile, TARGETS } from '../deploy/executable/targets.js'
import { NodeProcess } from './support/processes.js'

const root = join(import.meta.dirname, '..')

test.each(Object.entries(TARGETS))('the lock file has every native module for %s', (_, target) => {
  const locked = lockedPackages(root)
  for (const addon of ADDONS) {
    const { name } = addonFile(addon, target)
    expect(locked[`node_modules/${name}`], name).toMatchObject({
      integrity: expect.stringMatching(/^sha512-/),
    })
  }
})

test('a header tells for which platform a file was built', () => {
  const elf = (machine: number) => {
    const header = Buffer.alloc(64)
    header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1])
    header.writeUInt16LE(machine, 18)
    return header
  }
  const machO = (cpu: number) => {
    const header = Buffer.alloc(64)
    header.writeUInt32LE(0xfeedfacf, 0)
    header.writeUInt32LE(cpu, 4)
    return header
  }
  expect(platformOf(elf(62))).toEqual({ os: 'linux', cpu: 'x64' })
  expect(platformOf(elf(183))).toEqual({ os: 'linux', cpu: 'arm64' })
  expect(platformOf(machO(0x01000007))).toEqual({ os: 'darwin', cpu: 'x64' })
  expect(platformOf(machO(0x0100000c))).toEqual({ os: 'darwin', cpu: 'arm64' })
  expect(platformOf(elf(40))).toBeUndefined()
  expect(platformOf(Buffer.from('#!/bin/sh\n'))).toBeUndefined()
})

const EXECUTABLE = process.env.CARPORT_TEST_EXECUTABLE

describe.runIf(EXECUTABLE)('the executable', () => {
  const dir = mkdtempSync(join(tmpdir(), 'carport-executable-'))
  const program = EXECUTABLE!
  const scratch = join(dir, 'scratch')
  // Nothing else of the environment: no Node.js on the path, no home.
  const env = { PATH: '/nowhere', HOME: join(dir, 'home'), TMPDIR: scratch }
  const credentials = { accessKeyId: `GK${'0e'.repeat(12)}`, secretAccessKey: '1f'.repeat(32) }
  const heard = { nats: '', redis: '' }
  const brokers: Server[] = []
  const sockets: Socket[] = []
  let onHeard = () => {}
  let node: NodeProcess
  let s3: S3Client
  let admin: string

  /** Listens as a broker would until its client says who it is. */
  async function broker(name: 'nats' | 'redis', greeting: string): Promise<number> {
    const server = createServer((socket) => {
      sockets.push(socket)
      socket.on('error', () => {})
      socket.write(greeting)
      socket.on('data', (data) => {
        heard[name] += data.toString('latin1')
        onHeard()
      })
    })
    brokers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return (server.address() as AddressInfo).port
  }

  beforeAll(async () => {
    mkdirSync(scratch)
    mkdirSync(env.HOME)
    const nats = await broker(
      'nats',
      'INFO {"server_id":"x","version":"2.10.0","headers":true,"max_payload":1000000}\r\n',
    )
    const redis = await broker('redis', '')
    const [s3Port, rpc, adminPort] = await freePorts(3)
    const config = join(dir, 'carport.toml')
    writeFileSync(
      config,
      `metadata_dir = "${dir}/meta"
data_dir = "${dir}/data"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:${rpc}"
rpc_public_addr = "127.0.0.1:${rpc}"
rpc_secret = "${'5a'.repeat(32)}"
[s3_api]
api_bind_addr = "127.0.0.1:${s3Port}"
s3_region = "garage"
[admin]
api_bind_addr = "127.0.0.1:${adminPort}"
[notifications.n]
type = "nats"
url = "nats://127.0.0.1:${nats}"
[notifications.r]
type = "redis"
url = "redis://127.0.0.1:${redis}"
`,
      { mode: 0o600 },
    )
    node = new NodeProcess(
      ['server', '-c', config, '--single-node', '--default-bucket'],
      {
        ...env,
        CARPORT_DEFAULT_ACCESS_KEY: credentials.accessKeyId,
        CARPORT_DEFAULT_SECRET_KEY: credentials.secretAccessKey,
      },
      dir,
    )
    await node.start()
    const endpoint = `http://127.0.0.1:${s3Port}`
    s3 = new S3Client({ endpoint, region: 'garage', forcePathStyle: true, credentials })
    admin = `http://127.0.0.1:${adminPort}`
  })

  afterAll(async () => {
    s3?.destroy()
    for (const socket of sockets) socket.destroy()
    for (const each of brokers) each.close()
    expect(await node?.stop()).toBe(0)
    rmSync(dir, { recursive: true, force: true })
  })

  const Bucket = 'default-bucket'
  const stored = async (Key: string) => {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }))
    return Buffer.from(await Body!.transformToByteArray())
  }

  const storedBytes = () =>
    readdirSync(join(dir, 'data'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)

  test('tells its version without Node.js on the machine, and leaves no file behind', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    expect(execFileSync(program, ['--version'], { env, cwd: dir, encoding: 'utf8' }).trim()).toBe(version)
    expect(readdirSync(scratch)).toEqual([])
  })

  test('stores and gives back small objects, and large ones, which threads hash', async () => {
    for (const size of [100, 100_000, 9_000_000]) {
      const body = randomBytes(size)
      await s3.send(new PutObjectCommand({ Bucket, Key: `random/${size}`, Body: body }))
      expect((await stored(`random/${size}`)).equals(body)).toBe(true)
    }
  })

  test('compresses blocks', async () => {
    const body = Buffer.alloc(4 << 20, 'all work and no play makes Jack a dull boy\n')
    const before = storedBytes()
    await s3.send(new PutObjectCommand({ Bucket, Key: 'text', Body: body }))
    expect((await stored('text')).equals(body)).toBe(true)
    const taken = storedBytes() - before
    expect(taken).toBeGreaterThan(0)
    expect(taken).toBeLessThan(100_000)
  })

  test('verifies checksums of each kind', async () => {
    for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA256'] as const) {
      const put = { Bucket, Key: ChecksumAlgorithm, Body: 'checked', ChecksumAlgorithm }
      const answer = await s3.send(new PutObjectCommand(put))
      expect(answer[`Checksum${ChecksumAlgorithm}`]).toMatch(/=$/)
    }
  })

  test('serves the console', async () => {
    const page = await (await fetch(`${admin}/console/`)).text()
    const [, script] = /src="(\/console\/assets\/[^"]+\.js)"/.exec(page)!
    const answer = await fetch(admin + script)
    expect(answer.headers.get('content-type')).toContain('javascript')
    expect((await answer.text()).length).toBeGreaterThan(10_000)
    expect((await fetch(`${admin}/console/assets/nothing.js`)).status).toBe(404)
  })

  test('serves the admin API with its document and its page, and metrics', async () => {
    const get = async (path: string) => (await fetch(admin + path)).text()
    expect(JSON.parse(await get('/openapi.json'))).toMatchObject({ openapi: expect.stringMatching(/^3\./) })
    expect(await get('/')).toContain('<html')
    expect(await get('/metrics')).toContain('# TYPE ')
    expect(await get('/health')).toContain('fully operational')
  })

  test('knows how to talk to NATS and to Redis', async () => {
    const QueueConfigurations = ['n:nats', 'r:redis'].map((target) => ({
      QueueArn: `arn:carport:sqs::${target}`,
      Events: ['s3:ObjectCreated:*' as const],
    }))
    const NotificationConfiguration = { QueueConfigurations }
    await s3.send(new PutBucketNotificationConfigurationCommand({ Bucket, NotificationConfiguration }))
    const both = new Promise<void>((resolve) => {
      onHeard = () => {
        if (/CONNECT \{/.test(heard.nats) && /HELLO|CLIENT|PING/.test(heard.redis)) resolve()
      }
    })
    await s3.send(new PutObjectCommand({ Bucket, Key: 'told', Body: 'x' }))
    await both
  })

  test('takes another folder where the one for temporary files cannot be used, or says what to do', () => {
    const command = ['-c', join(dir, 'carport.toml'), 'status']
    const run = (more: object) =>
      spawnSync(program, command, { env: { ...env, ...more }, cwd: dir, encoding: 'utf8' })
    expect(run({ TMPDIR: '/proc/nowhere' }).status).toBe(0)
    expect(readdirSync(join(dir, 'home/.cache'))).toEqual([])
  })

  test('that was damaged says so', () => {
    const copy = join(dir, 'damaged')
    copyFileSync(program, copy)
    const bytes = readFileSync(copy)
    const addon = addonOf('lmdb')
    const at = bytes.lastIndexOf(addon.subarray(4096, 4160))
    expect(at).toBeGreaterThan(0)
    bytes[at]! ^= 1
    writeFileSync(copy, bytes)
    chmodSync(copy, 0o755)
    const options = { env, cwd: dir, encoding: 'utf8', timeout: 30_000 } as const
    const { stderr } = spawnSync(copy, ['server', '--single-node', '--data', join(dir, 'other')], options)
    expect(stderr).toContain('this copy of carport is damaged (lmdb)')
  })
})

/** The bytes of a native module for this platform, as they are installed here. */
function addonOf(addon: (typeof ADDONS)[number]): Buffer {
  const { name, file } = addonFile(addon, TARGETS[`${process.platform}-${process.arch}`]!)
  return readFileSync(join(root, 'node_modules', name, file))
}
