import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AdminCluster, BLOCK_BYTES, CLIENT, contentOf } from '../../../testing/admin-nodes.js'
import { CarportError, errorCode } from '../../util/errors.js'
import { forOperator } from './operator-errors.js'

// Three nodes, of which tests stop and cut off the third.

const cluster = new AdminCluster(3)
const ids = () => cluster.nodes.map(({ id }) => id)

beforeAll(async () => {
  await cluster.start()
  await cluster.layOut()
  await cluster.clock.advance(30_000)
})
afterAll(() => cluster.stop())

const cut = (i: number) => {
  for (const [j, id] of ids().entries()) if (j !== i) cluster.net.cut(ids()[i]!, id)
}
const heal = async (i: number) => {
  for (const [j, id] of ids().entries()) if (j !== i) cluster.net.heal(ids()[i]!, id)
  await cluster.clock.until(
    () => cluster.nodes.every(({ core }) => core.cluster.peering.connected().length === 2),
    600_000,
    1000,
  )
}

describe('an administrative call', () => {
  it.each<[what: string, body: unknown, message: RegExp]>([
    ['without a body', null, /has an operation and args/],
    ['that is no object', 'status', /has an operation and args/],
    ['without an operation', {}, /unknown operation undefined/],
    ['of an unknown operation', { operation: '__proto__', args: {} }, /unknown operation/],
    ['with bad arguments', { operation: 'bucket.info', args: { id: 'x' } }, /bucket.info/],
    ['with an argument too many', { operation: 'status', args: { x: 1 } }, /status: .*"x"/],
    ['without the node', { operation: 'meta.snapshot', args: {} }, /node/],
  ])('%s is refused', async (_, body, message) => {
    const refusal = cluster.callRaw(body)
    await expect(refusal).rejects.toThrow(message)
    await expect(refusal).rejects.toSatisfy((error) => errorCode(error) === 'InvalidArgument')
  })

  it('of a client runs', async () => {
    expect(await cluster.callRaw({ operation: 'status', args: {} }, 1, CLIENT)).toMatchObject({
      layoutVersion: 1,
    })
  })

  it('of another node runs only for what that node alone does', async () => {
    const [a, b] = ids() as [string, string]
    const forbidden = [
      { operation: 'status', args: {} },
      { operation: 'key.create', args: { name: 'thief' } },
      { operation: 'repair.launch', args: { node: '*', repairType: 'tables' } },
      { operation: 'repair.launch', args: { node: a, repairType: 'tables' } },
    ]
    for (const body of forbidden) {
      await expect(cluster.callRaw(body, 0, b)).rejects.toThrow(/not for other nodes/)
    }
    const allowed = { operation: 'block.listErrors', args: { node: 'self' } }
    expect(await cluster.callRaw(allowed, 0, b)).toEqual({ success: { [a]: [] }, error: {} })
  })

  it('for the owners of blocks is for nodes, not clients, and checked', async () => {
    const { transport } = cluster.nodes[0]!
    const ask = (from: string, body: unknown) => cluster.run(transport.serve(from, 'admin/find-owners', body))
    await expect(ask(CLIENT, [])).rejects.toThrow(/not for/)
    const node = ids()[1]!
    expect((await ask(node, [Buffer.alloc(16)])).body).toEqual([])
    for (const body of [null, [Buffer.alloc(15)], ['x'.repeat(16)]]) {
      await expect(ask(node, body)).rejects.toThrow(/malformed/)
    }
  })
})

describe('an operation on nodes', () => {
  it('runs on this one, another one, or all', async () => {
    const set = (node: string, value: string) =>
      cluster.call('worker.setVariable', { node, variable: 'resync-tranquility', value })
    const result = (value: string) => ({ variable: 'resync-tranquility', value })
    const [a, b, c] = ids() as [string, string, string]
    expect(await set('self', '5')).toEqual({ success: { [a]: result('5') }, error: {} })
    expect(await set(a, '6')).toEqual({ success: { [a]: result('6') }, error: {} })
    expect(await set(b, '7')).toEqual({ success: { [b]: result('7') }, error: {} })
    const all = await cluster.call('worker.getVariable', { node: '*', variable: 'resync-tranquility' })
    expect(all).toEqual({
      success: {
        [a]: { 'resync-tranquility': '6' },
        [b]: { 'resync-tranquility': '7' },
        [c]: { 'resync-tranquility': '2' },
      },
      error: {},
    })
    expect(await cluster.call('meta.snapshot', { node: '*' })).toEqual({
      success: { [a]: null, [b]: null, [c]: null },
      error: {},
    })
    expect(cluster.nodes.map(({ snapshots }) => snapshots.length)).toEqual([1, 1, 1])
    const stranger = 'ab'.repeat(32)
    await expect(set(stranger, '1')).rejects.toThrow(/no node abab.*carport status/)
  })

  it('tells each failure with its node', async () => {
    const [a, b, c] = ids() as [string, string, string]
    const bad = { node: '*', variable: 'resync-worker-count', value: '100' }
    expect(await cluster.call('worker.setVariable', bad)).toEqual({
      success: {},
      error: Object.fromEntries([a, b, c].map((id) => [id, 'the number of resync workers must be 1 to 8'])),
    })
    cut(2)
    const { success, error } = await cluster.call('worker.list', { node: '*' })
    expect(Object.keys(success).sort()).toEqual([a, b].sort())
    expect(error).toEqual({ [c]: expect.stringMatching(/no link.*carport status/) })
    await heal(2)
  })

  it('without a quorum says what to look at', async () => {
    cut(0)
    const create = cluster.call('bucket.create', { globalAlias: 'nowhere' })
    await expect(create).rejects.toThrow(/"carport status" shows which nodes are down/)
    await heal(0)
  })
})

describe('status', () => {
  it('of all nodes is known to each, with what they have still to do', async () => {
    const nodes = async (i: number) => (await cluster.call('status', {}, i)).nodes
    await cluster.clock.advance(60_000)
    for (const i of [0, 1, 2]) {
      const seen = await nodes(i)
      expect(seen.map(({ id }) => id).sort()).toEqual(ids().sort())
      expect(seen.every(({ isUp, syncQueueLength }) => isUp && syncQueueLength === 0)).toBe(true)
    }
    cut(2)
    for (let i = 0; i < 20; i++) await cluster.call('key.create', { name: `k${i}` })
    await cluster.clock.advance(15_000)
    const seen = await nodes(0)
    expect(seen.find(({ id }) => id === ids()[2])).toMatchObject({ isUp: false, syncQueueLength: null })
    expect(seen.find(({ id }) => id === ids()[0])?.syncQueueLength).toBeGreaterThanOrEqual(20)
    await heal(2)
    await cluster.clock.advance(120_000)
    expect((await nodes(2)).map(({ syncQueueLength }) => syncQueueLength)).toEqual([0, 0, 0])
    expect(await cluster.call('key.list', {}, 2)).toHaveLength(20)
  })
})

describe('changes on several nodes', () => {
  it('of one bucket and key add up', async () => {
    const { id } = await cluster.call('bucket.create', { globalAlias: 'shared' }, 0)
    const { accessKeyId } = await cluster.call('key.create', {}, 1)
    const change = (permissions: object) => ({ bucketId: id, accessKeyId, permissions })
    await cluster.call('bucket.allowKey', change({ read: true }), 0)
    await cluster.call('bucket.allowKey', change({ write: true }), 1)
    const { keys } = await cluster.call('bucket.allowKey', change({ owner: true }), 2)
    expect(keys).toMatchObject([{ accessKeyId, permissions: { read: true, write: true, owner: true } }])
  })

  it('purge blocks only when every node could be asked what needs them', async () => {
    const { id } = await cluster.call('bucket.info', { globalAlias: 'shared' })
    const bucket = cluster.nodes[0]!.core.model.buckets.byId(Buffer.from(id, 'hex'))!
    await cluster.putObject(bucket, 'x', contentOf('x', BLOCK_BYTES))
    await cluster.clock.advance(10_000)
    const { versions } = await cluster.call('bucket.inspectObject', { bucketId: id, key: 'x' })
    const { hash } = versions[0]!.blocks[0]!
    const purge = () => cluster.call('block.purge', { node: 'self', blockHashes: [hash] })
    for (const { disk } of cluster.nodes) {
      for (const path of [...disk.files.keys()]) if (path.includes(hash)) disk.files.delete(path)
    }
    cut(2)
    expect((await purge()).error[ids()[0]!]).toMatch(/carport status/)
    expect((await cluster.call('bucket.inspectObject', { bucketId: id, key: 'x' })).versions).toHaveLength(1)
    await heal(2)
    expect((await purge()).success[ids()[0]!]).toMatchObject({ versionsDeleted: 1, objectsDeleted: 1 })
    await expect(cluster.call('bucket.inspectObject', { bucketId: id, key: 'x' }, 1)).rejects.toThrow(
      /no object/,
    )
  })
})

describe('a failure', () => {
  it('that is unexpected keeps its text in the log', () => {
    const error = forOperator(new TypeError('x of undefined'), 'ab'.repeat(32))
    expect(error).toMatchObject({
      code: 'RemoteError',
      message: expect.stringMatching(/log of node abababababababab$/),
    })
  })

  it('keeps its code, and is told once what to do', () => {
    const failure = new CarportError('PeerUnreachable', 'no link to node x')
    const told = forOperator(failure, 'n')
    expect(told).toMatchObject({ code: 'PeerUnreachable', cause: failure })
    expect(forOperator(told, 'n').message).toBe(told.message)
    const plain = new CarportError('NotFound', 'no key')
    expect(forOperator(plain, 'n')).toBe(plain)
  })
})
