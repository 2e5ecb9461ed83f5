import { createHash } from 'node:crypto'
import type { Bucket } from '../src/model/buckets/buckets.js'
import type { StoredBody } from '../src/model/content/blobs.js'
import { NONCE_BYTES } from '../src/model/content/refs.js'
import type { Model } from '../src/model/model.js'
import type { Precondition } from '../src/model/versions/conditional-writes.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import { errorCode } from '../src/util/errors.js'
import type { RegisterHistory } from './register-history.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimClock } from './sim-clock.js'
import { INLINE_BYTES_MAX, type SimClusterOptions } from './sim-cluster.js'
import { newVersion, shownBy, sourceOf } from './sim-objects.js'

class Refused extends Error {}

/** What a client does: 'create' if nothing is there, 'replace' or 'delete' what it read a moment ago. */
type Kind = 'create' | 'replace' | 'delete'

interface Request {
  readonly w: {
    readonly history: RegisterHistory
    readonly contents: {
      make(random: SeededRandom, bytes: number): Buffer
      register(etag: string, content: Buffer): void
    }
    readonly counts: Record<string, number>
    readonly judgeShare: number
    readonly judgeMs: number
    readonly cluster: { readonly clock: SimClock; readonly options: Pick<SimClusterOptions, 'earlierNodes'> }
  }
  readonly random: SeededRandom
  readonly target: { bucket: Bucket; key: string; register: string }
  note(what: string): string
  try<T>(what: string, run: (model: Model) => Promise<T>): Promise<T | undefined>
  remember(version: VersionRecord): void
}

/** One write on a condition, with all that the history has to know of it. */
export async function conditionalWrite(request: Request): Promise<void> {
  const roll = request.random.float()
  const kind: Kind = roll < 0.35 ? 'create' : roll < 0.85 ? 'replace' : 'delete'
  const expected = kind === 'create' ? null : await read(request)
  if (expected === undefined || (kind !== 'create' && expected === null)) return
  const { random } = request
  const bytes = random.chance(0.8) ? smallBytes(random) : INLINE_BYTES_MAX + 1 + random.below(8192)
  await writeOn(request, kind, expected, bytes)
}

/** Each of the requests creates what nobody has used before, without blocks: of those for one key, one wins. */
export async function createAll(requests: readonly Request[]): Promise<void> {
  await Promise.all(requests.map((request) => writeOn(request, 'create', null, smallBytes(request.random))))
}

function smallBytes(random: SeededRandom): number {
  return 16 + random.below(1000)
}

async function writeOn(request: Request, kind: Kind, expected: string | null, bytes: number): Promise<void> {
  const { w, random, target, note } = request
  const { bucket, key, register } = target
  const content = kind === 'delete' ? undefined : w.contents.make(random, bytes)
  const etag = content ? createHash('md5').update(content).digest('hex') : null
  if (content) w.contents.register(etag!, content)
  const precondition: Precondition = (current) => {
    const found = current?.state === 'object' ? current.etag.toString('hex') : null
    if (found !== expected) throw new Refused()
  }
  const op = w.history.call(register, 'change', etag, note(kind), expected)
  const what = `${kind} ${register} ${etag?.slice(0, 8) ?? ''} on ${expected?.slice(0, 8) ?? 'nothing'}`
  const outcome = await request.try(what, async (model) => {
    try {
      if (!content)
        return await model.objects.delete(bucket.id, Buffer.from(key), '', bucket.versioning, precondition)
      const stored = slowed(request, await model.blobs.write(sourceOf(content, random)))
      const version = newVersion(bucket, key, stored.md5)
      return await model.objects.put(version, stored, bucket.versioning, precondition)
    } catch (error) {
      if (error instanceof Refused) return 'refused'
      const code = errorCode(error)
      // Others were in the way, or do not know such writes yet, and nothing was written.
      if (code === 'Conflict' || (code === 'NotSupported' && isUpgraded(w))) return 'void'
      throw error
    }
  })
  if (outcome === undefined) return w.history.unanswered(op)
  w.counts[`${kind}:${typeof outcome === 'string' ? outcome : 'done'}`] =
    (w.counts[`${kind}:${typeof outcome === 'string' ? outcome : 'done'}`] ?? 0) + 1
  if (outcome === 'refused') w.history.refused(op)
  else if (outcome === 'void') w.history.void(op)
  else {
    w.history.answered(op)
    request.remember(outcome)
  }
}

function isUpgraded({ cluster }: Request['w']): boolean {
  return (cluster.options.earlierNodes ?? 0) > 0
}

/** A content whose claims take long to confirm, which happens between the two phases of a write. */
function slowed({ w, random }: Request, stored: StoredBody): StoredBody {
  if (w.judgeMs === 0 || !random.chance(w.judgeShare)) return stored
  const waitMs = random.exponential(w.judgeMs)
  const confirm = async () => {
    await w.cluster.clock.sleep(waitMs)
    await stored.claims?.confirm()
  }
  return { ...stored, nonce: stored.nonce ?? random.bytes(NONCE_BYTES), claims: { confirm } }
}

/** The ETag that is there, null for nothing; undefined if the read failed. */
async function read({ w, target, note, ...request }: Request): Promise<string | null | undefined> {
  const op = w.history.call(target.register, 'read', null, note('look'))
  const found = await request.try(`look ${target.register}`, async (model) => {
    const version = await model.objects.get(target.bucket.id, Buffer.from(target.key), undefined, {
      body: false,
    })
    return shownBy(version)
  })
  if (found !== undefined) w.history.answered(op, found)
  return found
}
