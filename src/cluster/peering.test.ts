import { describe, expect, test } from 'vitest'
import {
  FakeNet,
  type FakeNode,
  ManualClock,
  nodeId,
  SeededRandom,
  settle,
} from '../../testing/cluster-fakes.js'
import { silentLog } from '../util/log.js'
import { formatAddress, parsePeerSpec, tryParseAddress } from './address.js'
import { Peering, type PeerRecord } from './peering.js'

class MemoryStore {
  constructor(public records: PeerRecord[] = []) {}
  load = () => this.records
  save = async (records: PeerRecord[]) => {
    this.records = records
  }
}

interface StartOptions {
  bootstrap?: string[]
  store?: MemoryStore
  members?: FakeNode[]
}

function start(net: FakeNet, node: FakeNode, options: StartOptions = {}): Peering {
  const peering = new Peering({
    dialer: node,
    clock: net.clock,
    random: new SeededRandom(node.address.port),
    log: silentLog,
    store: options.store ?? new MemoryStore(),
    bootstrapPeers: (options.bootstrap ?? []).map(parsePeerSpec),
    isMember: (id) => options.members?.some((member) => member.self === id) ?? false,
  })
  peering.start()
  return peering
}

function makeNet() {
  const clock = new ManualClock()
  const net = new FakeNet(clock)
  const add = (name: string, port: number) => net.add(name, { host: 'host', port })
  return { clock, net, add }
}

describe('addresses', () => {
  test('are read with and without an id, as names, IPv4 and IPv6', () => {
    const id = nodeId('a')
    expect(parsePeerSpec(`${id.toUpperCase()}@Node-1.example:3901`)).toEqual({
      id,
      address: { host: 'node-1.example', port: 3901 },
    })
    expect(parsePeerSpec('[2001:DB8::1]:3901').address).toEqual({ host: '2001:db8::1', port: 3901 })
    expect(formatAddress({ host: '2001:db8::1', port: 3901 })).toBe('[2001:db8::1]:3901')
    expect(tryParseAddress('10.0.0.1:65535')).toEqual({ host: '10.0.0.1', port: 65535 })
  })

  test.each([
    '',
    'host',
    'host:0',
    'host:65536',
    ':3901',
    '2001:db8::1:3901',
    '[host]:1',
    'a b:1',
    'xy@host:1',
  ])('%j is refused', (text) => {
    expect(() => parsePeerSpec(text)).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
  })
})

test('a configured peer is dialled until it is there, and again after the link broke', async () => {
  const { clock, net, add } = makeNet()
  const a = add('a', 1)
  const peering = start(net, a, { bootstrap: [`${nodeId('b')}@host:2`] })
  const events: string[] = []
  peering.onLink((event) => events.push(event.up ? 'up' : 'down'))
  await clock.advance(60_000)
  expect(peering.peers()).toMatchObject([{ id: nodeId('b'), up: false, lastSeenMsAgo: undefined }])
  const b = add('b', 2)
  await clock.until(() => peering.isUp(b.self), 31_000)
  net.unlink(a.self, b.self)
  expect(peering.isUp(b.self)).toBe(false)
  await clock.advance(40)
  expect(peering.peers()[0]!.lastSeenMsAgo).toBe(40)
  await clock.until(() => peering.isUp(b.self), 200)
  expect(events).toEqual(['up', 'down', 'up'])
})

test('a link that breaks while a dial is under way is opened again', async () => {
  const { clock, net, add } = makeNet()
  const [a, b] = [add('a', 1), add('b', 2)]
  const peering = start(net, a, { bootstrap: [`${b.self}@host:2`] })
  const connect = a.connect.bind(a)
  let broken = 0
  a.connect = async (address, id) => {
    const node = await connect(address, id)
    if (broken++ < 3) net.unlink(a.self, b.self)
    return node
  }
  await clock.until(() => peering.isUp(b.self), 10_000)
  await clock.advance(60_000)
  expect(peering.isUp(b.self)).toBe(true)
  expect(broken).toBe(4)
})

test('a bootstrap address without an id follows the node that answers there', async () => {
  const { clock, net, add } = makeNet()
  const a = add('a', 1)
  const old = add('old', 2)
  const peering = start(net, a, { bootstrap: ['host:2', 'host:1'] })
  await clock.until(() => peering.isUp(old.self), 1000)
  net.kill(old.self)
  const reinstalled = add('new', 2)
  await clock.until(() => peering.isUp(reinstalled.self), 31_000)
  expect(peering.connected()).toEqual([reinstalled.self])
  expect(peering.peers().some((peer) => peer.id === a.self)).toBe(false)
})

test('what other nodes tell is checked, dialled and stored', async () => {
  const { clock, net, add } = makeNet()
  const [a, b] = [add('a', 1), add('b', 2)]
  const store = new MemoryStore()
  const peering = start(net, a, { store })
  peering.learn('nonsense')
  peering.learn([null, 7, { id: 'x', addresses: [] }, { id: nodeId('c'), addresses: 'host:1' }])
  peering.learn([{ id: a.self, addresses: ['host:1'] }])
  expect(peering.peers()).toEqual([])
  peering.learn([{ id: b.self, addresses: ['host:2', 'rubbish', 5] }])
  await clock.until(() => peering.isUp(b.self), 1000)
  expect(store.records).toEqual([{ id: b.self, addresses: ['host:2'] }])
  peering.announced(b.self, { host: 'public.example', port: 9 })
  await settle()
  expect(store.records).toEqual([{ id: b.self, addresses: ['public.example:9', 'host:2'] }])
  await peering.stop()

  const again = start(net, a, { store })
  net.unlink(a.self, b.self)
  await clock.until(() => again.isUp(b.self), 2000)
})

test('connect checks the id, and connecting to itself succeeds without a link', async () => {
  const { clock, net, add } = makeNet()
  const [a, b] = [add('a', 1), add('b', 2)]
  const peering = start(net, a)
  const wrong = expect(peering.connect(parsePeerSpec(`${nodeId('c')}@host:2`))).rejects.toMatchObject({
    code: 'Conflict',
  })
  const self = expect(peering.connect(parsePeerSpec('host:1'))).resolves.toBe(a.self)
  const selfById = expect(peering.connect(parsePeerSpec(`${a.self}@gone:9`))).resolves.toBe(a.self)
  const right = expect(peering.connect(parsePeerSpec(`${b.self}@host:2`))).resolves.toBe(b.self)
  await clock.advance(10)
  await Promise.all([wrong, self, selfById, right])
  expect(peering.records()).toEqual([{ id: b.self, addresses: ['host:2'] }])
})

test('a dead stranger is forgotten after an hour, a dead member is not', async () => {
  const { clock, net, add } = makeNet()
  const [a, b, c] = [add('a', 1), add('b', 2), add('c', 3)]
  const peering = start(net, a, { members: [c] })
  peering.learn([b, c].map((node) => ({ id: node.self, addresses: [formatAddress(node.address)] })))
  await clock.until(() => peering.connected().length === 2, 1000)
  net.kill(b.self)
  net.kill(c.self)
  expect(peering.records().map((record) => record.id)).toEqual([c.self])
  await clock.advance(3500_000)
  expect(peering.peers()).toHaveLength(2)
  await clock.advance(200_000)
  expect(peering.peers().map((peer) => peer.id)).toEqual([c.self])
})
