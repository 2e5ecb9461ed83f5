import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import {
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { REPAIRS } from '../src/cli/progress/tasks.js'
import { realIo } from '../src/cli/real-io.js'
import { runCli } from '../src/cli/run.js'
import { GARAGE_VERBS } from '../testing/garage-verbs.js'
import { startTestNode, type TestNode } from './support/test-node.js'

// Every verb of the command line on a real node, over its RPC port.

const SECRET = 'ab'.repeat(32)
let node: TestNode
let target: string[]

/** Lines that were run. */
const lines: string[] = []
/** Verbs that run without a node, or make one: see cli-tour.test.ts. */
const ELSEWHERE = ['server', 'node id', 'offline-repair', 'convert-db', 'admin-api-schema', 'completions']

interface Ran {
  status: number
  out: string
  err: string
}

/** Runs words on the node; `stdin` is what the program would read there. */
async function run(words: readonly string[], stdin = '', host = target): Promise<Ran> {
  lines.push(words.join(' '))
  const out: string[] = []
  const err: string[] = []
  const status = await runCli([...host, ...words], {
    ...realIo,
    env: {},
    terminal: undefined,
    // Looks at work that goes on twenty times as often.
    sleep: (ms) => realIo.sleep(ms / 20),
    readStdin: async () => stdin,
    out: (text) => out.push(text),
    err: (text) => err.push(text),
  })
  return { status, out: out.join('\n'), err: err.join('\n') }
}

/** Runs a line that must succeed; returns its output. */
async function ok(line: string): Promise<string> {
  const { status, out, err } = await run(line.split(' '))
  expect(err, line).toBe('')
  expect(status, line).toBe(0)
  return out
}

// biome-ignore lint/suspicious/noExplicitAny: answers of all kinds
const json = async (line: string): Promise<any> => JSON.parse(await ok(`${line} --json`))

/** Runs a line that must fail with one sentence; returns it. */
async function fails(line: string, status = 1, host = target): Promise<string> {
  const ran = await run(line.split(' '), '', host)
  expect(ran.err).toMatch(/^carport: [^\n]+$/)
  expect({ line, status: ran.status, out: ran.out }).toEqual({ line, status, out: '' })
  return ran.err
}

async function overHttp(endpoint: string, token: string) {
  const response = await fetch(`http://${node.adminApi!.address}/v2/${endpoint}`, {
    headers: { authorization: `Bearer ${token}` },
  })
  return { status: response.status, body: (await response.json()) as unknown }
}

beforeAll(async () => {
  node = await startTestNode({ secrets: { adminToken: 'the-admin-token' } })
  target = ['-h', `${node.core.quorum.self}@127.0.0.1:${node.rpc.port}`, '-s', SECRET]
})
afterAll(() => node.dispose())

describe('the cluster', () => {
  test('health, status, stats and layout tell of it', async () => {
    expect(await ok('health')).toMatch(/^Cluster health: +HEALTHY\n/)
    expect(await ok('health -q')).toBe('')
    expect(await json('health')).toMatchObject({ status: 'healthy', partitions: 256 })
    expect(await ok('status')).toContain('==== HEALTHY NODES ====')
    expect(await ok('stats -a')).toContain('==== CLUSTER STATISTICS ====')
    expect(await json('stats')).toHaveProperty('cluster.bucketCount')
    expect(await ok('layout show')).toMatch(/^Current layout, version 1\n/)
    expect(await ok('layout history')).toContain('#1')
  })

  test('a node connects to itself, and tells why it does not connect to another', async () => {
    const self = node.core.quorum.self
    expect(await ok(`node connect ${self}@127.0.0.1:${node.rpc.port}`)).toBe('Success.')
    expect(await fails(`node connect ${'0'.repeat(64)}@127.0.0.1:${node.rpc.port}`)).toMatch(/cannot connect/)
    expect(await fails('node connect nonsense')).toMatch(/"nonsense": expected <node id>@<host>:<port>/)
  })

  test('changes of the layout are staged by the first digits of a node, and dropped', async () => {
    const prefix = node.core.quorum.self.slice(0, 6)
    await ok(`layout assign -z elsewhere -c=1G -t fast ${prefix}`)
    await ok('layout config -r 1')
    expect(await ok('layout show')).toContain('elsewhere')
    expect((await json(`layout remove ${prefix}`)).stagedRoleChanges).toMatchObject([{ remove: true }])
    expect((await json('layout revert --yes')).stagedRoleChanges).toEqual([])
    expect(await fails('layout apply', 2)).toMatch(/--version 2/)
    expect(await fails('layout apply --version 7')).toMatch(/version/)
    expect(await fails('layout skip-dead-nodes --version 1')).toMatch(/./)
  })
})

describe('access keys', () => {
  test('live from create to delete', async () => {
    const { accessKeyId } = await json('key create app --expires-in 2w')
    expect(await ok('key info app --key-id')).toBe(accessKeyId)
    expect(await ok(`key info ${accessKeyId.slice(0, 8)} --secret-key`)).toMatch(/^[0-9a-f]{64}$/)
    expect((await json('key set app --never-expires')).expiration).toBeNull()
    expect((await json('key allow --create-bucket app')).permissions.createBucket).toBe(true)
    expect((await json('key rename app worker')).name).toBe('worker')

    const exported = await ok('key export-env worker --prefix X_')
    const variable = (name: string) => new RegExp(`^X_${name}=(.*)$`, 'm').exec(exported)![1]!
    const client = new S3Client({
      endpoint: node.endpoint,
      region: variable('DEFAULT_REGION'),
      credentials: { accessKeyId: variable('ACCESS_KEY_ID'), secretAccessKey: variable('SECRET_ACCESS_KEY') },
    })
    expect((await client.send(new ListBucketsCommand({}))).Buckets ?? []).toEqual([])
    client.destroy()

    await ok('key deny --create-bucket worker')
    await ok(`key import GK${'7'.repeat(24)} ${'1f'.repeat(32)} -n imported --yes`)
    expect(await ok('key list')).toMatch(/imported/)
    await ok('key set imported --expires-in 1ms')
    expect(await ok('key delete-expired --yes')).toContain('1 access keys have been deleted.')
    expect(await fails('key delete worker', 2)).toMatch(/confirm with --yes/)
    await ok('key delete worker --yes')
    expect(await json('key list')).toEqual([])
  })
})

describe('tokens of the admin API', () => {
  test('do what their scope says, from create to delete', async () => {
    const token = await ok('admin-token create ops --scope ListKeys -q')
    expect((await overHttp('ListKeys', token)).status).toBe(200)
    expect((await overHttp('GetClusterStatus', token)).status).toBe(403)
    await ok('admin-token set ops --scope=+GetClusterStatus')
    expect((await overHttp('GetClusterStatus', token)).status).toBe(200)
    await ok('admin-token set ops --scope=-ListKeys')
    expect((await overHttp('ListKeys', token)).status).toBe(403)
    const { id } = await json('admin-token rename ops operators')
    expect(await ok(`admin-token info ${id.slice(0, 10)}`)).toMatch(/Token name: +operators/)
    expect(await ok('admin-token list')).toMatch(/operators/)
    await ok('admin-token delete operators --yes')
    expect((await overHttp('GetClusterStatus', token)).status).toBe(403)

    const all = await ok('admin-token create all -q')
    expect((await overHttp('GetClusterHealth', all)).status).toBe(200)
    await ok('admin-token set all --expires-in 1ms')
    expect(await ok('admin-token delete-expired --yes')).toContain('1 admin tokens have been deleted.')
    expect(await fails('admin-token info all')).toMatch(/no admin token "all"/)
  })
})

describe('buckets', () => {
  test('live from create to delete', async () => {
    const key = await node.createKey('owner')
    const client = node.client(key)
    const { id } = await json('bucket create photos')
    await ok('bucket alias photos pictures')
    await ok(`bucket alias ${id.slice(0, 12)} mine --local owner`)
    await ok('bucket allow photos --read --write --owner --key owner')
    await ok('bucket website --allow photos -i home.html -e oops.html')
    await ok('bucket set-quotas photos --max-size 30GiB --max-objects 1000')
    await client.send(new PutObjectCommand({ Bucket: 'photos', Key: 'a', Body: Buffer.alloc(200_000, 7) }))
    await client.send(new CreateMultipartUploadCommand({ Bucket: 'photos', Key: 'big' }))
    const info = await ok('bucket info pictures')
    expect(info).toMatch(/Objects: +1\n/)
    expect(info).toMatch(/index document: +home.html/)
    expect(await ok('bucket list')).toContain('photos')
    expect(await ok('bucket inspect-object photos a')).toMatch(/Size: +200000 bytes/)
    expect(await ok('bucket cleanup-incomplete-uploads photos')).toMatch(/no uploads deleted/)
    expect(await ok('bucket cleanup-incomplete-uploads --older-than 0s photos')).toMatch(/1 upload deleted/)
    await ok('bucket deny photos --owner --key owner')
    await ok('bucket website --deny photos')
    expect(await fails('bucket delete photos --yes')).toMatch(/other aliases \(pictures\)/)
    await ok('bucket unalias pictures')
    await ok('bucket unalias mine --local owner')
    expect(await fails('bucket delete photos --yes')).toMatch(/not empty/)
    expect(await client.send(new HeadObjectCommand({ Bucket: 'photos', Key: 'a' }))).toMatchObject({
      ContentLength: 200_000,
    })
  })
})

describe('upkeep', () => {
  test.each(Object.keys(REPAIRS))('repair %s runs to its end', async (what) => {
    const { status, out } = await run(['repair', '--yes', '--wait', what])
    expect(status).toBe(0)
    expect(out).toMatch(what === 'versions' ? /nothing to repair/ : new RegExp(`repair ${what}: done`))
  })

  test('a scrub is started, paused, resumed and cancelled', async () => {
    const started = await run(['repair', '--yes', '-a', 'scrub', 'start', '--wait'])
    expect({ status: started.status, out: started.out }).toEqual({
      status: 0,
      out: expect.stringMatching(/scrub: (done|paused)/),
    })
    await ok('repair --yes scrub pause')
    await ok('repair --yes scrub resume')
    const { status, err } = await run(['repair', '--yes', 'scrub', 'cancel'])
    expect([status, err]).toEqual([1, expect.stringMatching(/1 of the nodes failed/)])
  })

  test('workers and their variables', async () => {
    const workers = await json('worker list')
    expect(await ok('worker list -b -e')).toMatch(/^TID/)
    expect(await ok(`worker info ${workers[0].id}`)).toContain(workers[0].name)
    expect(await ok('worker set -a resync-tranquility 3')).toMatch(/resync-tranquility +3/)
    expect(await ok('worker get resync-tranquility')).toMatch(/ 3$/)
    expect(await ok('worker get -a')).toContain('scrub-tranquility')
    expect(await ok('worker watch')).toMatch(/./)
    expect(await fails('worker info 999')).toMatch(/no worker 999/)
    const unknown = await run(['worker', 'get', 'nonsense'])
    expect([unknown.status, unknown.out]).toEqual([1, expect.stringMatching(/no variable "nonsense"/)])
  })

  test('blocks and snapshots', async () => {
    const [version] = (await json('bucket inspect-object photos a')).versions
    const { hash } = version.blocks[0]
    expect(await ok(`block info ${hash.slice(0, 10)}`)).toContain(hash)
    expect(await ok('block list-errors')).toMatch(/^Hash/)
    expect(await ok('block retry-now --all')).toMatch(/^0 blocks/)
    expect(await fails('block info 0000')).toMatch(/no block/)
    expect(await fails(`block purge --yes ${hash}`)).toMatch(/is not lost, a replica has it/)
    const data = join(node.dir, 'data')
    const files = (readdirSync(data, { recursive: true }) as string[]).filter((name) => name.includes(hash))
    for (const name of files) rmSync(join(data, name))
    expect(await ok(`block purge --yes ${hash}`)).toMatch(/Objects deleted: +1/)
    expect(await ok('meta snapshot --all')).toContain('Snapshot created')
    await ok('bucket delete photos --yes')
  })
})

describe('json-api', () => {
  test.each(['GetClusterHealth', 'GetClusterLayout', 'ListBuckets', 'ListKeys', 'GetClusterLayoutHistory'])(
    '%s answers as over HTTP',
    async (endpoint) => {
      const { status, body } = await overHttp(endpoint, 'the-admin-token')
      expect(status).toBe(200)
      expect(JSON.parse(await ok(`json-api ${endpoint}`))).toEqual(body)
    },
  )

  test('takes a payload as a word or from stdin', async () => {
    const created = JSON.parse(await ok('json-api CreateBucket {"globalAlias":"by-json"}'))
    const payload = JSON.stringify({ id: created.id, body: { quotas: { maxSize: 1000, maxObjects: null } } })
    const updated = await run(['json-api', 'UpdateBucket', '-'], payload)
    expect(JSON.parse(updated.out).quotas).toEqual({ maxSize: 1000, maxObjects: null })
    await ok(`json-api DeleteBucket {"id":"${created.id}"}`)
    expect(await fails(`json-api GetBucketInfo {"id":"${created.id}"}`)).toMatch(/no bucket/)
  })
})

test('every verb of Garage was run here or is run in the tour', () => {
  const verbs = [...new Set(GARAGE_VERBS.map(([verb]) => verb))]
  const missing = verbs.filter((verb) => !lines.some((line) => `${line} `.startsWith(`${verb} `)))
  expect(missing.sort()).toEqual([...ELSEWHERE].sort())
})

describe('wrong input is told in one sentence', () => {
  test('unknown names', async () => {
    expect(await fails('bucket info nothing')).toMatch(/no bucket "nothing"/)
    expect(await fails('bucket allow nothing --read --key k')).toMatch(/no bucket "nothing"/)
    expect(await fails('key info nothing')).toMatch(/no access key "nothing"/)
    expect(await fails('admin-token delete nothing --yes')).toMatch(/no admin token "nothing"/)
    expect(await fails('layout remove 00ff')).toMatch(/no node's id starts with "00ff"/)
  })

  test('ambiguous prefixes', async () => {
    // More of them than there are hexadecimal digits.
    const ids: string[] = []
    for (let i = 0; i < 17; i++) {
      const key = await node.createKey(`ambiguous-${i}`)
      ids.push((await node.core.model.buckets.create(`ambiguous-${i}`, { owner: key.id })).hexId)
    }
    const digit = ids.map(([first]) => first!).find((first, i, all) => all.indexOf(first) < i)!
    const several = new RegExp(`buckets' ids start with "${digit}": give more digits`)
    expect(await fails(`bucket info ${digit}`)).toMatch(several)
    expect(await fails(`bucket delete ${digit} --yes`)).toMatch(several)
    expect(await fails('key info GK')).toMatch(/access keys have ids that start with "GK": give more/)
    await ok('key create twin')
    await ok('key create twin')
    expect(await fails('key info twin')).toMatch(/2 access keys are named "twin"/)
    await ok('admin-token create twin')
    await ok('admin-token create twin')
    expect(await fails('admin-token info twin')).toMatch(/2 admin tokens match "twin": give the id/)
  })

  test('a wrong secret, a wrong id, and no server', async () => {
    const [, peer] = target as [string, string]
    const at = (host: string, secret = SECRET) => ['-h', host, '-s', secret]
    expect(await fails('status', 1, at(peer, 'cd'.repeat(32)))).toMatch(
      /cannot reach the node.*same rpc_secret/,
    )
    const other = `${'0'.repeat(64)}@${peer.split('@')[1]}`
    expect(await fails('status', 1, at(other))).toMatch(/check the node id in -h/)
    expect(await fails('status', 1, at(`${'0'.repeat(64)}@127.0.0.1:1`))).toMatch(
      /is "carport server" running/,
    )
    expect(await fails('status', 2, at('nonsense'))).toMatch(/the RPC host is "nonsense", expected/)
    expect(await fails('status', 1, ['-c', '/nowhere.toml'])).toMatch(/\/nowhere.toml does not exist/)
  })
})
