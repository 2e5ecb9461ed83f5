/** K2V on three nodes in processes of their own: what one takes the others tell, and what many polls cost. */
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePorts } from '../bench/stores/server-process.js'
import { jsonOf, type K2vAnswer, K2vTestClient, textsOf, tokenOf } from './support/k2v-client.js'
import { ProcessCluster } from './support/processes.js'
import { type Signer, signedHead } from './support/signed-head.js'

interface Page {
  items: { sk: string; ct: string }[]
  nextStart: string | null
}

const POLLS_WANTED = 10_000
/** Descriptors that this process needs beside the polls. */
const FILES_LEFT = 500
const MORE_MIB_MAX = 100

let cluster: ProcessCluster
let ports: number[]
let key: Signer['key']
let clients: K2vTestClient[]

beforeAll(async () => {
  ports = await freePorts(3)
  const k2v = (i: number) => `[k2v_api]\napi_bind_addr = "127.0.0.1:${ports[i]}"`
  cluster = await ProcessCluster.create(3, 3, k2v, 'max_connections = 12000')
  await cluster.startAndLayOut()
  const { accessKeyId, secretAccessKey } = await cluster.createKey('k2v')
  key = { id: accessKeyId, secret: secretAccessKey }
  await cluster.cli(0, 'bucket', 'create', 'items')
  await cluster.cli(0, 'bucket', 'allow', '--read', '--write', 'items', '--key', accessKeyId)
  clients = ports.map((port) => new K2vTestClient(key, port, 'items'))
})

afterAll(() => cluster?.dispose())

test('what one node takes the others show, and it tells their polls', async () => {
  const [a, b, c] = clients as [K2vTestClient, K2vTestClient, K2vTestClient]
  expect((await a.insert('p', 'x', 'first')).status).toBe(204)
  const read = await b.read('p', 'x')
  expect(textsOf(read)).toEqual(['first'])
  const polls = clients.map((client) => client.poll('p', 'x', tokenOf(read), 60))
  const marker = jsonOf<{ seenMarker: string }>(await c.post('?poll_range', {}, 'p')).seenMarker
  const range = b.post('?poll_range', { seenMarker: marker, timeout: 60 }, 'p')
  // Whether they wait already or come too late for the notice, they are told.
  expect((await c.insert('p', 'x', 'second', tokenOf(read))).status).toBe(204)
  for (const poll of polls) expect(textsOf(await poll)).toEqual(['second'])
  const { items } = jsonOf<{ items: { sk: string }[] }>(await range)
  expect(items.map(({ sk }) => sk)).toEqual(['x'])
})

const figures = (status: string) => Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) / 1024
const memoryMib = () => cluster.nodes.map(({ pid }) => figures(readFileSync(`/proc/${pid}/status`, 'latin1')))
const hasProc = process.platform === 'linux'

describe.runIf(hasProc)('many polls at a time', () => {
  const sockets: Socket[] = []
  afterAll(() => {
    for (const socket of sockets) socket.destroy()
  })

  test(`${POLLS_WANTED} cost a node less than ${MORE_MIB_MAX} MiB, and all are told`, {
    timeout: 180_000,
  }, async () => {
    const [client, other] = clients as [K2vTestClient, K2vTestClient]
    const limit = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))![1]!
    const files = limit === 'unlimited' ? Number.POSITIVE_INFINITY : Number(limit)
    const count = Math.min(POLLS_WANTED, files - FILES_LEFT)
    const names = Array.from({ length: count }, (_, i) => `${100_000 + i}`)
    const items = (v: string, ct = new Map<string, string>()) =>
      names.map((sk) => ({ pk: 'many', sk, ct: ct.get(sk) ?? null, v: Buffer.from(v).toString('base64') }))
    expect((await client.post('', items('old'))).status).toBe(204)
    const tokens = new Map<string, string>()
    for (let start: string | null = '0'; start !== null; ) {
      const found: K2vAnswer = await client.post('?search', [{ partitionKey: 'many', start, limit: 5000 }])
      const [page]: [Page] = jsonOf(found)
      for (const { sk, ct } of page.items) tokens.set(sk, ct)
      start = page.nextStart
    }
    expect(tokens.size).toBe(count)

    // Connections alone, to tell what they cost from what polls do.
    const before = memoryMib()
    let answered = 0
    for (const [i, sk] of names.entries()) {
      const socket = connect(ports[0]!, '127.0.0.1')
      sockets.push(socket)
      socket.on('error', () => {})
      socket.on('data', (data) => {
        if (data.toString('latin1').startsWith('HTTP/1.1 200')) answered++
      })
      const target = client.item('many', sk, `&causality_token=${tokens.get(sk)}&timeout=600`)
      const signer = { key, port: ports[0]!, nowMs: Date.now(), service: 'k2v' }
      socket.write(signedHead(signer, 'GET', target))
      if (i % 100 === 99) await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await expect.poll(() => pollsWaiting(), { timeout: 90_000 }).toBe(count)
    const after = memoryMib()
    const more = after.map((mib, i) => mib - before[i]!)
    console.log(`${count} polls cost the nodes ${more.map((mib) => mib.toFixed()).join(', ')} MiB`)
    expect(answered).toBe(0)

    expect((await other.post('', items('new', tokens))).status).toBe(204)
    await expect.poll(() => answered, { timeout: 90_000 }).toBe(count)
    for (const mib of more) expect(mib).toBeLessThan((MORE_MIB_MAX * count) / POLLS_WANTED)
  })

  /** Polls that wait on the first node, as its metrics tell. */
  async function pollsWaiting(): Promise<number> {
    const answer = await fetch(`http://127.0.0.1:${cluster.adminPorts[0]}/metrics`)
    return Number(/^carport_k2v_polls (\d+)/m.exec(await answer.text())?.[1] ?? -1)
  }
})
