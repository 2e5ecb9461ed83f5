import { createHash } from 'node:crypto'
import { readListed } from '../src/model/versions/codec.js'
import type { SeededRandom } from './seeded-random.js'
import { INLINE_BYTES_MAX } from './sim-cluster.js'
import { checkContent } from './sim-content.js'
import { deleteKnown } from './sim-deletions.js'
import { newVersion, shownBy, sourceOf } from './sim-objects.js'
import type { ClientRequest } from './sim-request.js'
import { VersioningTurns } from './sim-versioning.js'
import type { Workload } from './sim-workload.js'

const EMPTY = Buffer.alloc(0)
/** The keys of the versioned bucket whose null versions are written, too, as if versions were suspended now and then. */
const NULL_KEYS = ['null', 'null/2', 'null/3', 'null/4'] as const

/**
 * One operation on null versions, or on the versions with ids that come and go before and behind them. A key's null version is one
 * register, whether it is the current version or a noncurrent one: a null version and a null delete marker replace it, and its
 * deletion empties it; what happens to versions with ids does not change it.
 */
export async function nullStep(request: ClientRequest<Workload>): Promise<void> {
  const { w, random } = request
  const key = random.pick(NULL_KEYS)
  const roll = random.float()
  const turns = w.versioning.get(key) ?? new VersioningTurns()
  w.versioning.set(key, turns)
  const versioning = turns.at(w.cluster.clock.monotonicMs())
  if (roll < 0.35 || versioning === 'changing') return read(request, key)
  if (roll < 0.45) return list(request, key)
  await turns.write(async () => {
    if (roll < 0.6) await removeNull(request, key)
    else if (roll < 0.7) await pop(request, key)
    else if (roll < 0.85 || versioning === 'enabled') await put(request, key, versioning)
    else await remove(request, key)
  })
}

async function put(
  { w, random, note, ...request }: ClientRequest<Workload>,
  key: string,
  versioning: 'enabled' | 'suspended',
): Promise<void> {
  const bytes = random.chance(0.7) ? 16 + random.below(1000) : INLINE_BYTES_MAX + 1 + random.below(8192)
  const content = w.contents.make(random, bytes)
  const etag = createHash('md5').update(content).digest('hex')
  w.contents.register(etag, content)
  const isNull = versioning === 'suspended'
  const op = isNull ? w.history.call(registerOf(key), 'write', etag, note('put of null')) : undefined
  const written = await request.try(`put-null ${key} ${versioning} ${etag.slice(0, 8)}`, async (model) => {
    const stored = await model.blobs.write(sourceOf(content, random))
    return model.objects.put(newVersion(w.versionedBucket, key, stored.md5), stored, versioning)
  })
  if (op && !written) w.history.unanswered(op)
  if (!written) return
  if (op) w.history.answered(op)
  request.remember(written, key)
}

/** Deletes the key: a null delete marker takes the place of the null version. */
async function remove({ w, note, ...request }: ClientRequest<Workload>, key: string): Promise<void> {
  const op = w.history.call(registerOf(key), 'write', null, note('delete with null'))
  const written = await request.try(`delete-null ${key}`, (model) =>
    model.objects.delete(w.versionedBucket.id, Buffer.from(key), '', 'suspended'),
  )
  if (!written) return w.history.unanswered(op)
  w.history.answered(op)
  request.remember(written, key)
}

/** Deletes the null version itself. */
async function removeNull({ w, note, ...request }: ClientRequest<Workload>, key: string): Promise<void> {
  const op = w.history.call(registerOf(key), 'write', null, note('deletion of null'))
  const done = await request.try(`delete-version null ${key}`, async (model) => {
    await model.objects.deleteVersion(w.versionedBucket.id, Buffer.from(key), 'null')
    return true
  })
  if (done) w.history.answered(op)
  else w.history.unanswered(op)
}

async function read({ w, note, ...request }: ClientRequest<Workload>, key: string): Promise<void> {
  const op = w.history.call(registerOf(key), 'read', null, note('get of null'))
  await request.try(`get-null ${key}`, async (model) => {
    const version = await model.objects.get(w.versionedBucket.id, Buffer.from(key), 'null')
    w.history.answered(op, shownBy(version))
    if (version?.state === 'object') await checkContent(w, model, version, registerOf(key))
  })
}

/**
 * Lists all versions of the key: one null version at the most, which then is what a read would show. That there is none says nothing:
 * one that became the current version after that was looked at has left its place among the others.
 */
async function list({ w, note, ...request }: ClientRequest<Workload>, key: string): Promise<void> {
  const op = w.history.call(registerOf(key), 'read', null, note('list of null'))
  await request.try(`list-null ${key}`, async (model) => {
    const place = { bucket: w.versionedBucket.id, prefix: Buffer.from(key), delimiter: EMPTY }
    const asked = { ...place, start: EMPTY, afterVersion: EMPTY, limit: 1000 }
    const { entries } = await model.versionListing.page(asked)
    const ofKey = entries.filter((entry) => entry.key.toString() === key)
    const [shown, ...others] = ofKey.map(({ head }) => readListed(head!)).filter(({ isNull }) => isNull)
    if (others.length > 0)
      w.problems.push(`${note('list of null')}: ${others.length + 1} null versions of ${key}`)
    if (shown) w.history.answered(op, shown.isMarker ? null : shown.etag.slice(0, 32))
  })
}

/** Deletes the newest version with an id that is known, which is mostly the current one. */
async function pop(request: ClientRequest<Workload>, key: string): Promise<void> {
  const [found] = [...request.w.versions].filter(([, version]) => version.key === key).reverse()
  if (found) await deleteKnown(request, { id: found[0], ...found[1] })
}

/** The register of a key's null version. */
function registerOf(key: string): string {
  return `null:${key}`
}

/** Reads the null version of every key at every node that may coordinate. */
export async function readNulls(w: Workload, random: SeededRandom): Promise<void> {
  for (const node of w.cluster.nodes) {
    if (!node.core!.cluster.layout.view.mayCoordinate) continue
    for (const key of NULL_KEYS) {
      const op = w.history.call(registerOf(key), 'read', null, `at the end at node${node.index}`)
      const version = await w.cluster.retried(random, () =>
        node.core!.model.objects.get(w.versionedBucket.id, Buffer.from(key), 'null'),
      )
      w.history.answered(op, shownBy(version))
    }
  }
}
