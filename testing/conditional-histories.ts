/** Steps of histories of conditional writes: what a client does, and what comes between the messages of its node. */
import { createHash } from 'node:crypto'
import { expect, vi } from 'vitest'
import type { Versioning } from '../src/model/buckets/documents.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import type { NodeId } from '../src/net/transport.js'
import { BALLOT_RANDOM_BYTES, makeBallot } from '../src/table/ballot.js'
import { errorCode } from '../src/util/errors.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import { bucketOn, put, waitUntil } from './sim-histories.js'
import { newVersion, sourceOf } from './sim-objects.js'

export const KEY = 'key'
export const ACCEPT = 'table/object/accept'
export const PREPARE = 'table/object/prepare'
export const INSERT = 'table/object/insert'

export const md5 = (content: string) => createHash('md5').update(content).digest()

class Refused extends Error {}

type Three = [SimNode, SimNode, SimNode]
type Sets = readonly (readonly NodeId[])[]

/** Replaces a key's content on the condition that it is still `expected`. Resolves with what the client hears. */
export async function replace(
  c: SimCluster,
  node: SimNode,
  bucket: Buffer,
  expected: string,
  content: string,
  { key = KEY, versioning = 'off' }: { key?: string; versioning?: Versioning } = {},
): Promise<string> {
  const { model } = node.core!
  const stored = await model.blobs.write(sourceOf(Buffer.from(content), c.random))
  const version = newVersion({ id: bucket } as Parameters<typeof newVersion>[0], key, stored.md5)
  const precondition = (current: VersionRecord | undefined) => {
    if (!current?.etag.equals(md5(expected))) throw new Refused()
  }
  return model.objects.put(version, stored, versioning, precondition).then(
    () => 'done',
    (error: unknown) => (error instanceof Refused ? 'refused' : String(errorCode(error))),
  )
}

/** Lets some nodes promise a ballot that is later than all before, to nobody. */
export async function promise(asker: SimNode, nodes: readonly SimNode[], bucket: Buffer): Promise<void> {
  const { quorum, cluster, model, parts } = asker.core!
  const key = model.tables.object.local.codec.keyOf(bucket, Buffer.from(KEY))
  const ballot = makeBallot(parts.hlc.now(), Buffer.alloc(BALLOT_RANDOM_BYTES, 0xff))
  for (const { id } of nodes) {
    const body = [cluster.layout.layoutVersion, key, ballot, []]
    await quorum.call(id, PREPARE, body, { timeoutMs: 5000 })
  }
}

/** Runs `steps` once each, before a node sends the first messages of that method, or with them. */
export function interpose(
  node: SimNode,
  steps: Partial<Record<string, (send: () => Promise<unknown>) => Promise<unknown>>>,
): void {
  const { quorum } = node.core!
  for (const name of ['write', 'writeJudged'] as const) {
    const original = quorum[name].bind(quorum) as (...args: unknown[]) => Promise<never>
    vi.spyOn(quorum, name).mockImplementation(
      (sets: Sets, method: string, body: unknown, options: object) => {
        const step = steps[method]
        if (!step) return original(sets, method, body, options)
        delete steps[method]
        return step(() => original(sets, method, body, options)) as Promise<never>
      },
    )
  }
}

/** A key whose content is 'base' on all nodes, which all know each other's processes. */
export async function begin(c: SimCluster): Promise<{ nodes: Three; bucket: Buffer; base: VersionRecord }> {
  const nodes = c.nodes as Three
  const bucket = await bucketOn(c, nodes[0])
  for (const node of nodes) {
    await waitUntil(c, 'the node votes', () => node.core!.tables.standing.votes(bucket[0]!), 60_000)
  }
  const base = await put(nodes[0], bucket, KEY, 'base')
  for (const node of nodes) {
    await put(node, bucket, `other${node.index}`, 'base')
    expect(await replace(c, node, bucket, 'base', 'more', { key: `other${node.index}` })).toBe('done')
  }
  await c.clock.sleep(5000)
  return { nodes, bucket, base }
}
