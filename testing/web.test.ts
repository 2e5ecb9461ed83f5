import { describe, expect, it } from 'vitest'
import type { WebsiteDocument } from '../src/model/buckets/documents.js'
import { MasterKeys } from '../src/model/content/ciphers.js'
import { Pages } from '../src/web/pages.js'
import { Sites } from '../src/web/sites.js'
import { roleOf, SimCluster, type SimNode } from './sim-cluster.js'

const LATENCY_MS = 50
const BLOCK_BYTES = 4096

/** Sites in a cluster of three zones. Invariant: a page is never older than a write acknowledged before it was asked for. */
describe('a site over three zones', { timeout: 60_000 }, () => {
  it('costs a round trip per page, kept in memory or not, and shows what was written elsewhere at once', async () => {
    await simulate(async (cluster) => {
      const [a, b] = cluster.nodes as [SimNode, SimNode]
      await makeSite(a, 'site.example', {})
      await put(b, 'site.example', 'page.html', 'one')
      const visitor = visitorOf(a)
      expect(await timed(cluster, visitor, 'page.html')).toEqual(['one', 1])
      expect(await timed(cluster, visitor, 'page.html')).toEqual(['one', 1])
      await put(b, 'site.example', 'page.html', 'two')
      expect(await timed(cluster, visitor, 'page.html')).toEqual(['two', 1])
      expect(await timed(cluster, visitor, 'page.html')).toEqual(['two', 1])
      await put(a, 'site.example', 'page.html', 'three')
      expect((await timed(cluster, visitor, 'page.html'))[0]).toBe('three')
      // Its siblings are asked for at the same time.
      await put(b, 'site.example', 'page.html.br', 'short')
      expect(await timed(cluster, visitor, 'page.html', ['br'])).toEqual(['short', 1])
    })
  })

  it('costs a page of 50 files one round trip each at most, also right after they changed, on a replica and on any other node', async () => {
    await simulate(async (cluster) => {
      const [a, b] = cluster.nodes as [SimNode, SimNode]
      await makeSite(a, 'site.example', {})
      const gateway = await cluster.grow()
      await cluster.changeLayout([{ node: gateway.id, role: { ...roleOf(gateway), capacityBytes: null } }], a)
      await cluster.clock.sleep(60_000)
      const files = Array.from({ length: 50 }, (_, i) => `file-${i}.css`)
      const visitors = [a, gateway].map(visitorOf)
      const slow: string[] = []
      for (const text of ['first', 'second', 'first again']) {
        await Promise.all(files.map((file) => put(b, 'site.example', file, `${text} ${file}`)))
        // Until the last replica has them: a read that finds one without them mends it first.
        await cluster.clock.sleep(1000)
        for (const [at, visitor] of visitors.entries()) {
          for (const look of ['changed', 'kept']) {
            for (const file of files) {
              const [seen, trips] = await timed(cluster, visitor, file)
              expect([look, seen]).toEqual([look, `${text} ${file}`])
              if (trips > 1) slow.push(`${text} ${file}, ${look}, by visitor ${at}`)
            }
          }
        }
      }
      expect(slow).toEqual([])
    })
  })

  it('stays readable while a quorum of zones is up, and from any one replica if it says so', async () => {
    await simulate(async (cluster) => {
      const [a, b, c] = cluster.nodes as [SimNode, SimNode, SimNode]
      const large = 'x'.repeat(10 * BLOCK_BYTES)
      for (const [name, settings] of [
        ['site.example', {}],
        ['degraded.example', { consistencyMode: 'degraded' }],
      ] as const) {
        await makeSite(a, name, settings)
        await put(a, name, 'page.html', 'page')
        await put(a, name, 'large.html', large)
      }
      await cluster.clock.sleep(60_000)
      const visitor = visitorOf(a)
      cluster.crash(b, 'machine')
      await cluster.clock.sleep(60_000)
      for (const name of ['site.example', 'degraded.example']) {
        expect(await visitor(name, 'page.html')).toBe('page')
        expect(await visitor(name, 'large.html')).toBe(large)
      }
      cluster.crash(c, 'machine')
      await cluster.clock.sleep(60_000)
      await expect(visitor('site.example', 'page.html')).rejects.toMatchObject({ code: 'QuorumUnavailable' })
      expect(await visitor('degraded.example', 'page.html')).toBe('page')
      expect(await visitor('degraded.example', 'large.html')).toBe(large)
      expect(await visitor('degraded.example', 'none.html')).toBeUndefined()
    })
  })
})

type Visitor = (host: string, key: string, codings?: 'br'[]) => Promise<string | undefined>

function visitorOf(node: SimNode): Visitor {
  const { model } = node.core!
  const sites = new Sites(model.buckets, null)
  const pages = new Pages(model, new MasterKeys([]), 1e6)
  return async (host, key, codings = []) => {
    const site = await sites.find(host)
    const page = site && (await pages.negotiate(site, key, codings))
    if (!page) return undefined
    const body = await pages.content(page, 0, page.size, () => new AbortController().signal)
    if (Buffer.isBuffer(body)) return body.toString()
    const chunks: Buffer[] = []
    for await (const chunk of body) chunks.push(Buffer.from(chunk))
    return Buffer.concat(chunks).toString()
  }
}

/** What a visitor gets, and how many round trips between zones that took. */
async function timed(
  cluster: SimCluster,
  visitor: Visitor,
  key: string,
  codings?: 'br'[],
): Promise<[text: string | undefined, trips: number]> {
  const before = cluster.clock.monotonicMs()
  const text = await visitor('site.example', key, codings)
  return [text, Math.round((cluster.clock.monotonicMs() - before) / (2 * LATENCY_MS))]
}

async function makeSite(node: SimNode, name: string, settings: Partial<WebsiteDocument>): Promise<void> {
  const { buckets } = node.core!.model
  await buckets.create(name, { documents: { website: { indexDocument: 'index.html', ...settings } } })
}

async function put(node: SimNode, name: string, key: string, text: string): Promise<void> {
  const { model } = node.core!
  const bucket = (await model.buckets.byName(name, undefined))!.id
  const body = Buffer.from(text)
  const stored = await model.blobs.write({
    length: body.length,
    readAll: async () => body,
    async *stream() {
      yield body
    },
  })
  const version = { bucket, key: Buffer.from(key), etag: stored.md5, etagParts: 0, owner: '' }
  await model.objects.put({ ...version, headers: {}, metadata: {}, mutable: {} }, stored, 'off')
}

async function simulate(run: (cluster: SimCluster) => Promise<void>): Promise<void> {
  const cluster = new SimCluster({
    seed: 7,
    nodes: 3,
    zones: 3,
    replicationFactor: 3,
    blockBytes: BLOCK_BYTES,
    clockSkewMs: 0,
    // As nodes do, who compare buckets and keys in the background: a request that finds no comparison of the last three seconds waits for one.
    controlRoundMs: 1_000,
    path: { latencyMs: LATENCY_MS, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 },
    tables: {},
    graces: { unreferencedMs: 600_000, unclaimedMs: 3_600_000 },
  })
  await cluster.clock.runUntil(
    (async () => {
      await cluster.start()
      await run(cluster)
    })(),
    3_600_000,
  )
}
