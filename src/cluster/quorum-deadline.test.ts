import { expect, test } from 'vitest'
import { ManualClock } from '../../testing/cluster-fakes.js'
import type { CallOptions, Transport } from '../net/transport.js'
import { Quorum } from './quorum.js'

const SELF = 'a0'.repeat(32)
const OTHER = 'b0'.repeat(32)

/** The deadlines with which a quorum's calls reach other nodes, in ms. */
async function deadlinesOf(callTimeoutMs: number | undefined): Promise<number[]> {
  const seen: number[] = []
  const transport: Transport = {
    self: SELF,
    handle() {},
    isConnected: () => true,
    rttMs: () => 1,
    call: async (_to, _method, _body, { timeoutMs }: CallOptions) => {
      seen.push(timeoutMs)
      return { body: null }
    },
  }
  const quorum = new Quorum(transport, new ManualClock(), callTimeoutMs)
  const options = { quorum: 1, timeoutMs: 10_000 }
  await quorum.read([OTHER], 'm', null, options)
  await quorum.write([[OTHER]], 'm', null, options)
  await quorum.write([[SELF, OTHER]], 'm', null, options)
  return seen
}

test('rpc_timeout_msec takes the place of the deadlines of reads and writes, longer or shorter', async () => {
  expect(new Set(await deadlinesOf(undefined))).toEqual(new Set([10_000]))
  expect(new Set(await deadlinesOf(500))).toEqual(new Set([500]))
  expect(new Set(await deadlinesOf(60_000))).toEqual(new Set([60_000]))
})
