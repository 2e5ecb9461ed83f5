import type { VersionRecord } from '../src/model/versions/record.js'
import { eachLimited } from '../src/util/limited.js'
import type { RegisterOp } from './register-check.js'
import type { SeededRandom } from './seeded-random.js'
import { type ClientRequest, isExpectedFailure } from './sim-request.js'
import type { Workload } from './sim-workload.js'

/** The most names in one request, and how many of them are deleted at once: see DeleteObjects of the S3 API. */
const NAMES_MAX = 12
const CONCURRENCY = 32
/** Share of the names that are there twice, and of those in a bucket with versions that name a version. */
const TWICE_SHARE = 0.1
const VERSION_SHARE = 0.3

/** One name of a request: a key, or a version of it that is not the current one. */
interface Named {
  key: string
  /** Of a key without a version: its deletion in the history. */
  op?: RegisterOp
  version?: { id: string; record: VersionRecord }
  /** What the store made or deleted; 'failed' if it answered with an error. */
  outcome?: VersionRecord | 'nothing' | 'failed'
}

/**
 * Several keys and versions deleted by one request, as the S3 API does it: some at the same time, each succeeds or fails on its
 * own, and one answer tells of all. A client that gets none knows nothing of any of them.
 */
export async function deleteMany(request: ClientRequest<Workload>): Promise<void> {
  const { w, target } = request
  const { bucket } = target
  const names = drawNames(request)
  for (const name of names) {
    if (name.version) w.versions.delete(name.version.id)
    else {
      const prefix = bucket === w.versionedBucket ? 'versioned/' : ''
      name.op = w.history.call(`${prefix}${name.key}`, 'write', null, request.note('delete of many'))
    }
  }
  const told = names.map(({ key, version }) => version?.id ?? key).join(' ')
  const answered = await request.try(`delete-many ${told}`, async ({ objects }) => {
    await eachLimited(names, CONCURRENCY, async (name) => {
      const key = Buffer.from(name.key)
      try {
        name.outcome =
          (await (name.version
            ? objects.deleteVersion(bucket.id, key, name.version.record.id)
            : objects.delete(bucket.id, key, '', bucket.versioning))) ?? 'nothing'
      } catch (error) {
        if (!isExpectedFailure(error)) throw error
        name.outcome = 'failed'
      }
    })
    return true
  })
  for (const { key, op, version, outcome } of names) {
    const record = answered && typeof outcome === 'object' ? outcome : undefined
    if (version && record) w.deletedVersions.set(version.id, { key, version: version.record })
    if (!op) continue
    if (!record) {
      w.history.unanswered(op)
      continue
    }
    w.history.answered(op)
    request.remember(record, key)
  }
  if (answered) {
    const failed = names.filter(({ outcome }) => outcome === 'failed').length
    w.counts['delete-many:failed'] = (w.counts['delete-many:failed'] ?? 0) + failed
    w.counts['delete-many:done'] = (w.counts['delete-many:done'] ?? 0) + names.length - failed
  }
}

function drawNames({ w, random, target }: ClientRequest<Workload>): Named[] {
  const isVersioned = target.bucket === w.versionedBucket
  const keys = isVersioned ? w.versionedKeys : w.keys
  const names: Named[] = []
  const count = 2 + random.below(NAMES_MAX - 1)
  const left = [...keys]
  const taken = new Set<string>()
  while (names.length < count && left.length > 0) {
    const [key] = left.splice(random.below(left.length), 1) as [string]
    const found = isVersioned && random.chance(VERSION_SHARE) ? noncurrentVersion(w, random) : undefined
    if (found && !taken.has(found.id)) {
      taken.add(found.id)
      names.push({ key: found.key, version: { id: found.id, record: found.version } })
      continue
    }
    names.push({ key })
    if (random.chance(TWICE_SHARE)) names.push({ key })
  }
  return names
}

/** Deletes a version that is not current, so that the key's register stays what it is. */
export async function deleteVersion(request: ClientRequest<Workload>): Promise<void> {
  const found = noncurrentVersion(request.w, request.random)
  if (found) await deleteKnown(request, found)
}

/** Deletes an acknowledged version by its id, and takes note of that. */
export async function deleteKnown(
  { w, ...request }: ClientRequest<Workload>,
  { id, key, version }: { id: string; key: string; version: VersionRecord },
): Promise<void> {
  w.versions.delete(id)
  const deleted = await request.try(`delete-version ${id}`, (model) =>
    model.objects.deleteVersion(w.versionedBucket.id, Buffer.from(key), version.id),
  )
  if (deleted) w.deletedVersions.set(id, { key, version })
}

/** Any acknowledged version after which another one was acknowledged; undefined if the one drawn is the last of its key. */
function noncurrentVersion(
  { versions }: Workload,
  random: SeededRandom,
): { id: string; key: string; version: VersionRecord } | undefined {
  const ids = [...versions.keys()]
  if (ids.length === 0) return undefined
  const id = random.pick(ids)
  const { key, version } = versions.get(id)!
  const hasNewer = ids.some((other) => {
    const candidate = versions.get(other)!
    return candidate.key === key && candidate.version.timeUs > version.timeUs
  })
  return hasNewer ? { id, key, version } : undefined
}
