import { createHash } from 'node:crypto'
import type { Model } from '../src/model/model.js'
import type { PartRow } from '../src/model/uploads/tables.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimNode } from './sim-cluster.js'
import { isUploadListed } from './sim-listings.js'
import { newVersion, sourceOf } from './sim-objects.js'
import type { Target } from './sim-request.js'
import type { Workload } from './sim-workload.js'

/** Share of the uploads that are looked for in listings. */
const LISTED_SHARE = 0.3

interface Request {
  readonly w: Workload
  readonly random: SeededRandom
  readonly target: Target
  note(node: SimNode, what: string): string
  try<T>(node: SimNode, what: string, run: (model: Model) => Promise<T>): Promise<T | undefined>
  /** The node of the next request, as a load balancer picks it. */
  otherThan(node: SimNode): SimNode
  remember(version: VersionRecord): void
}

/** An upload in parts, whose requests go to several nodes; some are sent twice, and some uploads are given up. */
export async function multipart(node: SimNode, request: Request): Promise<void> {
  const { w, random, target, otherThan } = request
  const { bucket, key, register } = target
  const upload = await request.try(node, `upload ${register}`, (model) =>
    model.uploads.create({
      bucket: bucket.id,
      key: Buffer.from(key),
      owner: '',
      headers: {},
      metadata: {},
      mutable: {},
    }),
  )
  if (!upload) return
  const parts: PartRow[] = []
  const contents: Buffer[] = []
  const count = 1 + random.below(3)
  const limit = random.chance(0.5) ? 1000 : 1 + random.below(5)
  for (let number = 1; number <= count; number++) {
    // The part is sent twice: the later one counts.
    for (let i = random.chance(0.2) ? 0 : 1; i < 2; i++) {
      const content = w.contents.make(random, 16 + random.below(3 * w.cluster.options.blockBytes))
      const part = await request.try(otherThan(node), `part ${register}`, async (model) => {
        const stored = await model.blobs.write(sourceOf(content, random), { inline: false })
        return model.uploads.putPart(upload, { number, etag: stored.md5 }, stored)
      })
      if (!part) return
      parts[number - 1] = part
      contents[number - 1] = content
    }
  }
  if (random.chance(LISTED_SHARE))
    await request.try(otherThan(node), `uploads ${register}`, async (model) => {
      if (!(await isUploadListed(model, upload, key, limit)))
        w.problems.push(`upload to ${register}: it is under way and not listed`)
    })
  const etag = createHash('md5')
    .update(Buffer.concat(parts.map((part) => part.etag)))
    .digest()
  const name = etag.toString('hex')
  w.contents.register(name, Buffer.concat(contents))
  if (random.chance(0.15)) {
    await request.try(otherThan(node), `abort ${register}`, (model) => model.uploads.end(upload))
    return
  }
  const at = otherThan(node)
  const op = w.history.call(register, 'write', name, request.note(at, 'complete'))
  const written = await request.try(at, `complete ${register} ${name.slice(0, 8)}`, async (model) => {
    const stored = await model.uploads.parts(upload)
    if (stored.length !== count || !stored.every((row, i) => row.id.equals(parts[i]!.id))) {
      w.problems.push(`upload to ${register}: an acknowledged part is not the one that is listed`)
    }
    const version = { ...newVersion(bucket, key, etag), etagParts: count }
    return model.uploads.complete(upload, parts, version, etag, bucket.versioning)
  })
  if (!written) return w.history.unanswered(op)
  w.history.answered(op)
  request.remember(written)
  await request.try(otherThan(at), `completed ${register}`, async (model) => {
    if (await model.uploads.get(bucket.id, Buffer.from(key), upload.id))
      w.problems.push(`upload to ${register}: it is still there though it is completed`)
    if (random.chance(LISTED_SHARE) && (await isUploadListed(model, upload, '', limit)))
      w.problems.push(`upload to ${register}: it is listed though it is completed`)
  })
}
