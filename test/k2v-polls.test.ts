/** Polls of the K2V API over HTTP, on one node. */
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { ALL_AT_ONCE, JUDGED_IN_TURN } from '../src/model/k2v/poll-groups.js'
import { SeenMarker } from '../src/model/k2v/seen-marker.js'
import { jsonOf, type K2vTestClient, textsOf, tokenOf } from './support/k2v-client.js'
import { startK2vNode } from './support/k2v-node.js'
import type { TestNode } from './support/test-node.js'

const b64 = (text: string) => Buffer.from(text).toString('base64')
const BINARY = 'application/octet-stream'

let node: TestNode
let k2v: K2vTestClient

beforeAll(async () => {
  ;({ node, k2v } = await startK2vNode())
})

afterAll(() => node?.dispose())

describe('polls', () => {
  test('of an item answer when it changes, and with 304 when it does not', async () => {
    await k2v.insert('poll', 'a', 'old')
    const token = tokenOf(await k2v.read('poll', 'a'))
    expect((await k2v.poll('poll', 'a', token, 1)).status).toBe(304)
    const waiting = k2v.poll('poll', 'a', token, 60, { headers: { accept: BINARY } })
    await expect.poll(() => node.core.model.k2vPolls.size).toBe(1)
    await k2v.insert('poll', 'other', 'x')
    await k2v.insert('poll', 'a', 'new', token)
    const answer = await waiting
    expect([answer.status, answer.body.toString()]).toEqual([200, 'new'])
    // One who has not seen it is answered at once.
    expect(textsOf(await k2v.poll('poll', 'a', token, 60))).toEqual(['new'])
    expect(node.core.model.k2vPolls.size).toBe(0)
  })

  test('wait for the first value of an item', async () => {
    await k2v.insert('poll', 'b', 'x')
    const token = tokenOf(await k2v.read('poll', 'b'))
    const waiting = k2v.poll('poll', 'not yet', token, 60)
    await expect.poll(() => node.core.model.k2vPolls.size).toBe(1)
    await k2v.insert('poll', 'not yet', 'there')
    expect(textsOf(await waiting)).toEqual(['there'])
  })

  test('end with their client', async () => {
    const token = tokenOf(await k2v.read('poll', 'b'))
    const leave = new AbortController()
    const waiting = k2v.poll('poll', 'b', token, 600, { signal: leave.signal })
    await expect.poll(() => node.core.model.k2vPolls.size).toBe(1)
    leave.abort()
    await expect(waiting).rejects.toThrow()
    await expect.poll(() => node.core.model.k2vPolls.size).toBe(0)
  })

  test('of a range tell each change once, deletions included', async () => {
    interface News {
      seenMarker: string
      items: { sk: string; v: (string | null)[] }[]
    }
    const poll = async (more: object) => {
      const answer = await k2v.post('?poll_range', more, 'range')
      return answer.status === 200 ? jsonOf<News>(answer) : answer.status
    }
    const shown = (news: News | number) => (news as News).items.map(({ sk, v }) => [sk, ...v])
    await k2v.insert('range', 'a', '1')
    await k2v.insert('range', 'b', '1')
    const first = (await poll({})) as News
    expect(shown(first)).toEqual([
      ['a', b64('1')],
      ['b', b64('1')],
    ])
    expect(await poll({ seenMarker: first.seenMarker, timeout: 1 })).toBe(304)

    const waiting = poll({ seenMarker: first.seenMarker, timeout: 60 })
    await expect.poll(() => node.core.model.k2vPolls.size).toBe(1)
    await k2v.insert('range', 'c', 'new')
    const second = (await waiting) as News
    expect(shown(second)).toEqual([['c', b64('new')]])

    await k2v.delete('range', 'a', tokenOf(await k2v.read('range', 'a')))
    await k2v.insert('range', 'd', 'outside')
    const third = (await poll({ seenMarker: second.seenMarker, end: 'd' })) as News
    expect(shown(third)).toEqual([['a', null]])
    expect(await poll({ seenMarker: third.seenMarker, end: 'd', timeout: 1 })).toBe(304)
    expect(shown(await poll({ seenMarker: second.seenMarker, prefix: 'd' }))).toEqual([['d', b64('outside')]])
  })

  test('of an empty range begin with an empty answer', async () => {
    const answer = await k2v.send({ method: 'SEARCH', target: '/k2v/nowhere?poll_range', body: '{}' })
    expect(jsonOf<{ items: unknown[] }>(answer).items).toEqual([])
  })

  test('take no place among the requests that are served', async () => {
    await k2v.insert('poll', 'many', 'x')
    const token = tokenOf(await k2v.read('poll', 'many'))
    const waiting = Array.from({ length: 600 }, () => k2v.poll('poll', 'many', token, 60))
    await expect.poll(() => node.core.model.k2vPolls.size, { timeout: 15_000 }).toBe(600)
    expect((await k2v.insert('poll', 'many', 'y', token)).status).toBe(204)
    expect(new Set((await Promise.all(waiting)).map(({ status }) => status))).toEqual(new Set([200]))
  })
})

describe('many polls of one item', () => {
  test('are told some in one turn of the event loop, and the others in later ones', async () => {
    const { k2vPolls, buckets } = node.core.model
    const bucket = (await buckets.byName('k2v', undefined))!.id
    const key = { partitionKey: Buffer.from('poll'), sortKey: Buffer.from('turns') }
    let turn = 0
    let isOver = false
    const count = () => {
      turn++
      if (!isOver) setImmediate(count)
    }
    count()
    const told = new Map<number, number>()
    const polls = Array.from({ length: 10 * JUDGED_IN_TURN }, async () => {
      const item = await k2vPolls.pollItem(bucket, key, new Map(), { timeoutMs: 60_000 })
      told.set(turn, (told.get(turn) ?? 0) + 1)
      return item
    })
    await expect.poll(() => k2vPolls.size).toBe(polls.length)
    await k2v.insert('poll', 'turns', 'x')
    expect((await Promise.all(polls)).every((item) => item !== undefined)).toBe(true)
    isOver = true
    expect(Math.max(...told.values())).toBeLessThanOrEqual(JUDGED_IN_TURN)
  })

  test('take their answers from the memory of all requests, one after the other where that is short', async () => {
    const limit = 8 << 20
    const { node: small, k2v: client } = await startK2vNode({ requestMemoryBytes: limit })
    const { memory } = small.core.model.blobs
    const taken: number[] = []
    let most = 0
    const acquire = memory.acquire.bind(memory)
    memory.acquire = (bytes) => {
      const waiting = acquire(bytes)
      const granted = () => {
        taken.push(bytes)
        most = Math.max(most, memory.usedBytes)
      }
      if (!waiting) granted()
      return waiting?.then(granted)
    }
    await client.insert('poll', 'big', 'old')
    const token = tokenOf(await client.read('poll', 'big'))
    const polls = Array.from({ length: 40 }, () => client.poll('poll', 'big', token, 60))
    await expect.poll(() => small.core.model.k2vPolls.size, { timeout: 15_000 }).toBe(40)
    const value = Buffer.alloc(1 << 20, 'v')
    await client.insert('poll', 'big', value, token)
    taken.length = 0
    for (const answer of await Promise.all(polls)) {
      expect((JSON.parse(answer.body.toString()) as string[])[0]).toBe(value.toString('base64'))
    }
    // Those for whom there was room at once did not ask.
    expect(taken.filter((bytes) => bytes > value.length).length).toBeGreaterThan(25)
    expect(most).toBeLessThanOrEqual(limit)
    await expect.poll(() => memory.usedBytes).toBe(0)
    await small.dispose()
  })

  test('of ranges are refused where their markers take too much', async () => {
    const { k2vPolls, buckets } = node.core.model
    const bucket = (await buckets.byName('k2v', undefined))!.id
    const left = new AbortController()
    const waiting = k2vPolls.pollRange(bucket, Buffer.from('markers'), {}, SeenMarker.nothing(), {
      timeoutMs: 60_000,
      markerBytes: 128 << 20,
      whenGone: (poll) => left.signal.addEventListener('abort', () => poll.end()),
    })
    const { seenMarker } = jsonOf<{ seenMarker: string }>(await k2v.post('?poll_range', {}, 'markers'))
    const poll = () => k2v.post('?poll_range', { seenMarker, timeout: 1 }, 'markers')
    expect((await poll()).status).toBe(503)
    left.abort()
    expect(await waiting).toBeUndefined()
    expect((await poll()).status).toBe(304)
    expect(k2vPolls.markerBytes).toBe(0)
  })
})

test('polls of many items that changed at once read some at a time', async () => {
  const { k2v: store, k2vPolls, buckets } = node.core.model
  const bucket = (await buckets.byName('k2v', undefined))!.id
  const keys = Array.from({ length: 5 * ALL_AT_ONCE }, (_, i) => ({
    partitionKey: Buffer.from('stampede'),
    sortKey: Buffer.from(`${i}`),
  }))
  const polls = keys.map((key) => k2vPolls.pollItem(bucket, key, new Map(), { timeoutMs: 60_000 }))
  await expect.poll(() => k2vPolls.size).toBe(keys.length)
  await k2v.post(
    '',
    keys.map((_, i) => ({ pk: 'elsewhere', sk: `${i}`, ct: null, v: b64('x') })),
  )
  const items = await Promise.all(
    keys.map(async (key) => {
      const like = (await store.read(bucket, { ...key, partitionKey: Buffer.from('elsewhere') }))!
      return { ...like, ...key }
    }),
  )
  let reading = 0
  let most = 0
  const read = vi.spyOn(store, 'read').mockImplementation(async (_bucket, { sortKey }) => {
    most = Math.max(most, ++reading)
    await new Promise((resolve) => setImmediate(resolve))
    reading--
    return items.find((item) => item.sortKey.equals(sortKey))
  })
  for (const item of items) store.onCommitted!(item)
  expect((await Promise.all(polls)).map((item) => item?.sortKey)).toEqual(keys.map(({ sortKey }) => sortKey))
  read.mockRestore()
  expect(most).toBe(ALL_AT_ONCE)
})

test('a stop ends polls as if their time was over', async () => {
  const { node: other, k2v: client } = await startK2vNode()
  const { k2vPolls } = other.core.model
  await client.insert('p', 'a', 'x')
  const waiting = client.poll('p', 'a', tokenOf(await client.read('p', 'a')), 600)
  await expect.poll(() => k2vPolls.size).toBe(1)
  const closed = once(other.k2v!.server, 'close')
  await other.dispose()
  expect((await waiting).status).toBe(304)
  await closed
})
