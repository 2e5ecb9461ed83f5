import type { Model } from '../src/model/model.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import { CarportError } from '../src/util/errors.js'
import type { Workload } from './sim-workload.js'

/** Reads the content of a version, which must be the one that was written. @throws CarportError as reads do */
export async function checkContent(
  { cluster, contents, problems }: Workload,
  model: Model,
  version: VersionRecord,
  name: string,
): Promise<void> {
  const startMs = cluster.clock.monotonicMs()
  const chunks: Buffer[] = []
  try {
    for await (const chunk of model.blobs.read(version, 0, version.size)) chunks.push(Buffer.from(chunk))
  } catch (error) {
    // A read may come too late for a version that was overwritten long ago.
    const lateMs = cluster.clock.monotonicMs() - startMs
    const isGone = error instanceof CarportError && error.code === 'BlockMissing'
    if (isGone && lateMs > cluster.options.graces.unreferencedMs / 2) return
    throw error
  }
  const etag = version.etag.toString('hex')
  if (!contents.matches(etag, Buffer.concat(chunks)))
    problems.push(`${name} ${etag}: the content read is not the one written`)
}
