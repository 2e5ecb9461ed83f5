import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { checkOperation } from '../api/admin/operation-schemas.js'
import { createIdentity } from '../net/identity.js'
import { TlsTransport } from '../net/tls-transport.js'
import { type Clock, Hlc } from '../util/clock.js'
import { silentLog } from '../util/log.js'
import type { Random } from '../util/random.js'
import { connectAdmin } from './connect.js'

const SECRET = 'ab'.repeat(32)
const random: Random = { bytes: randomBytes, float: () => 0.5 }
const clock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (ms, fn) => {
    const timer = setTimeout(fn, ms)
    return { cancel: () => clearTimeout(timer) }
  },
}

let node: TlsTransport
let address: { host: string; port: number }
let answer: unknown
beforeEach(async () => {
  node = new TlsTransport({
    identity: createIdentity(random),
    rpcSecret: Buffer.from(SECRET, 'hex'),
    listen: { host: '127.0.0.1', port: 0 },
    clock,
    random,
    hlc: new Hlc(clock),
    log: silentLog,
  })
  node.handle('admin/call', (body) => {
    const { operation, args } = body as { operation: unknown; args: unknown }
    const call = checkOperation(operation, args)
    return { body: answer ?? { result: { asked: call.operation } } }
  })
  answer = undefined
  address = await node.listen()
})
afterEach(() => node.close())

describe('a command over a real RPC connection', () => {
  const target = (values: object = {}) => ({
    addresses: [address],
    nodeId: node.self,
    rpcSecret: SECRET,
    ...values,
  })

  it('gets the result of the operation', async () => {
    const admin = await connectAdmin(target(), clock)
    expect(await admin.call('key.list', {})).toEqual({ asked: 'key.list' })
    await admin.close()
  })

  it('gets the error of the node with its code', async () => {
    const admin = await connectAdmin(target(), clock)
    await expect(admin.call('layout.apply', { version: 0 })).rejects.toMatchObject({
      code: 'InvalidArgument',
      message: expect.stringMatching(/layout.apply: version: /),
    })
    await admin.close()
  })

  it('does not take an answer of another form', async () => {
    answer = { results: [] }
    const admin = await connectAdmin(target(), clock)
    await expect(admin.call('key.list', {})).rejects.toThrow(/answered in an unknown form/)
    await admin.close()
  })

  it('tries the next address when the first does not answer', async () => {
    const admin = await connectAdmin(target({ addresses: [{ host: '127.0.0.1', port: 1 }, address] }), clock)
    expect(await admin.call('status', {})).toEqual({ asked: 'status' })
    await admin.close()
  })

  it('says what to do when no node answers, the secret differs, or it is another node', async () => {
    const attempt = (values: object) => connectAdmin(target(values), clock)
    await expect(attempt({ addresses: [{ host: '127.0.0.1', port: 1 }] })).rejects.toThrow(
      /^cannot reach the node at 127.0.0.1:1 \(connect ECONNREFUSED\): is "carport server" running there/,
    )
    await expect(attempt({ rpcSecret: 'cd'.repeat(32) })).rejects.toThrow(/with the same rpc_secret\?/)
    await expect(attempt({ nodeId: 'ef'.repeat(32) })).rejects.toThrow(
      /answered instead of efef.*: check the node id in -h/,
    )
  })
})
