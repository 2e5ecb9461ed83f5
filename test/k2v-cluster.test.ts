/** K2V on three nodes in processes of their own: what one takes the others tell. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePorts } from '../bench/stores/server-process.js'
import { jsonOf, K2vTestClient, textsOf, tokenOf } from './support/k2v-client.js'
import { ProcessCluster } from './support/processes.js'
import type { Signer } from './support/signed-head.js'

/** The poll, the write and its way to the others overlap each time in another way. */
const ROUNDS = 20

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
  for (let i = 0; i < ROUNDS; i++) {
    const pk = `p${i}`
    expect((await a.insert(pk, 'x', 'first')).status).toBe(204)
    const read = await b.read(pk, 'x')
    expect(textsOf(read)).toEqual(['first'])
    const polls = clients.map((client) => client.poll(pk, 'x', tokenOf(read), 30))
    const marker = jsonOf<{ seenMarker: string }>(await c.post('?poll_range', {}, pk)).seenMarker
    const range = b.post('?poll_range', { seenMarker: marker, timeout: 30 }, pk)
    // Whether they wait already or come too late for the notice, they are told.
    expect((await c.insert(pk, 'x', 'second', tokenOf(read))).status).toBe(204)
    for (const poll of polls) expect(textsOf(await poll)).toEqual(['second'])
    const { items } = jsonOf<{ items: { sk: string }[] }>(await range)
    expect(items.map(({ sk }) => sk)).toEqual(['x'])
  }
})
