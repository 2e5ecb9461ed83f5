import { createHash } from 'node:crypto'
import type { StoredBody } from '../src/model/content/blobs.js'
import type { Model } from '../src/model/model.js'
import type { NewVersion } from '../src/model/versions/objects.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import { errorCode } from '../src/util/errors.js'
import { newVersion, shownBy } from './sim-objects.js'
import type { ClientRequest, Target } from './sim-request.js'
import type { Workload } from './sim-workload.js'

/** Share of the copies that take a noncurrent version as their source. */
const OLD_VERSION_SHARE = 0.2
/** Share of the copies that take their time after they read the source; and of those that outlast the grace of its blocks. */
const SLOW_SHARE = 0.3
const VERY_SLOW_SHARE = 0.3
const SLOW_MS = 2000

/** A copy's source as it was read, and what a version that refers to its blocks is made of. */
interface Read {
  version: VersionRecord
  body: StoredBody
  parts: NewVersion['parts']
}

/**
 * A copy as the S3 API makes one: the source is read, and a version is written that refers to its blocks. Between the two,
 * others may overwrite or delete the source. In the history it is a read of one key and a write of the other one; as values
 * are written once there, each copy gets an ETag of its own, as one that was made of parts may have.
 */
export async function copyObject(request: ClientRequest<Workload> & { source: Target }): Promise<void> {
  const { w, random, source, target } = request
  const { clock, options } = w.cluster
  const startMs = clock.monotonicMs()
  const mayBeGone = () => clock.monotonicMs() - startMs > options.graces.unreferencedMs / 2
  const read = await readSource(request, mayBeGone)
  if (!read) return
  const from = read.version.etag.toString('hex')
  const etag = createHash('md5').update(random.bytes(16)).digest()
  const name = etag.toString('hex')
  w.contents.registerCopy(name, from)
  if (random.chance(SLOW_SHARE)) {
    const isLong = random.chance(VERY_SLOW_SHARE)
    const graceMs = options.graces.unreferencedMs
    await clock.sleep(isLong ? graceMs * (0.75 + random.float()) : random.exponential(SLOW_MS))
  }
  const op = w.history.call(target.register, 'write', name, request.note(`copy of ${source.register}`))
  const what = `copy ${source.register} ${from.slice(0, 8)} ${target.register} ${name.slice(0, 8)}`
  const written = await request.try(what, (model) =>
    unlessGone(mayBeGone, async () => {
      const { body, parts } = read
      const { headers, metadata } = read.version
      const version: NewVersion = {
        ...newVersion(target.bucket, target.key, etag),
        ...{ etagParts: 1, origin: 'Copy', headers, metadata },
        ...(parts && parts.length > 0 && { parts }),
      }
      return model.objects.put(version, body, target.bucket.versioning)
    }),
  )
  if (written === undefined || written === 'gone') w.history.unanswered(op)
  if (written === undefined) return
  const outcome = written === 'gone' ? 'gone' : 'done'
  w.counts[`copy:${outcome}`] = (w.counts[`copy:${outcome}`] ?? 0) + 1
  if (written === 'gone') return
  w.history.answered(op)
  request.remember(written)
}

/** Reads the source: undefined if there is none, or the read failed. */
async function readSource(
  request: ClientRequest<Workload> & { source: Target },
  mayBeGone: () => boolean,
): Promise<Read | undefined> {
  const { w, random, source } = request
  const old = random.chance(OLD_VERSION_SHARE) ? someVersion(request) : undefined
  const op = old ? undefined : w.history.call(source.register, 'read', null, request.note('copy from'))
  const what = `copied ${source.register}${old ? ` ${old.version.id.toString('hex')}` : ''}`
  const read = await request.try(what, (model) =>
    unlessGone(mayBeGone, async () => {
      const { bucket, key } = old ? { bucket: w.versionedBucket, key: old.key } : source
      const version = await model.objects.get(bucket.id, Buffer.from(key), old?.version.id)
      if (op) w.history.answered(op, shownBy(version))
      return version?.state === 'object' ? contentOf(model, version) : 'nothing'
    }),
  )
  return typeof read === 'string' ? undefined : read
}

async function contentOf({ blobs }: Model, version: VersionRecord): Promise<Read> {
  const parts = await blobs.partsOf(version)
  return { version, parts, body: await blobs.referTo(version) }
}

function someVersion({
  w,
  random,
}: ClientRequest<Workload>): { key: string; version: VersionRecord } | undefined {
  const versions = [...w.versions.values()]
  return versions.length > 0 ? random.pick(versions) : undefined
}

/** 'gone' if blocks are not there any more, which may be after the grace. */
async function unlessGone<T>(mayBeGone: () => boolean, run: () => Promise<T>): Promise<T | 'gone'> {
  try {
    return await run()
  } catch (error) {
    if (errorCode(error) === 'BlockMissing' && mayBeGone()) return 'gone'
    throw error
  }
}
