import { afterAll, beforeAll, expect, test } from 'vitest'
import { Life } from './kit/life.js'

// A short part of a cluster's life: a node is lost for good and replaced, another one comes back at a new address, while a client
// reads and writes. The whole of it is in whole.life.test.ts: npm run life.

let life: Life

beforeAll(async () => {
  life = await Life.begin()
}, 120_000)

afterAll(() => life?.end())

test('a node is lost and replaced, and no request fails', async () => {
  const { cluster } = life
  const { failures, requests } = await life.step('replace', async () => {
    const [a, c] = [cluster.node('a'), cluster.node('c')]
    await c.stop('SIGKILL')
    cluster.balancer.remove('c')
    const d = await cluster.addNode('d', 'z3')
    // A node without a role tells a balancer so, and its clients to go elsewhere.
    const early = await fetch(d.endpoint)
    expect([early.status, early.headers.get('connection')]).toEqual([503, 'close'])
    await cluster.layOut(a, { assign: [d], remove: [c] })
    await cluster.skipDeadNodes(a)
    await cluster.settled()
  })
  expect(failures).toEqual([])
  expect(requests).toBeGreaterThan(0)
}, 180_000)

test('a node comes back at another address, which the others learn by its name, and no request fails', async () => {
  const { cluster } = life
  const { failures } = await life.step('move', async () => {
    const b = cluster.node('b')
    await b.stop()
    cluster.move(b)
    await cluster.start(b)
    await cluster.linked()
  })
  expect(failures).toEqual([])
}, 180_000)

test('every object is found through every node', async () => {
  const { verified, wrong } = await life.verify()
  expect(wrong).toEqual([])
  expect(verified).toBe(3 * life.client.size)
}, 180_000)
