import { type S3Client, StoreError } from '../api/client/s3-client.js'
import { mergedPolicy } from './minio-statements.js'
import type { Report } from './report.js'
import { putAcl } from './s3-store.js'

/** Settings of a bucket as S3 has them: the document that the source answers is given to the destination as it is. */
const EARLY = ['ownershipControls', 'publicAccessBlock', 'tagging', 'encryption']
/** Those that act on objects come when the objects are there. */
const LATE = ['cors', 'website', 'policy', 'lifecycle', 'notification']
/** Answers that say that there is nothing. */
const NOTHING =
  /^(NoSuch|NotImplemented|OwnershipControlsNotFound|ServerSideEncryptionConfigurationNotFound|ObjectLockConfigurationNotFound|MethodNotAllowed|NotSupported|404$|405$|501$|InvalidRequest$)/
const ROOT_ALONE = /^(?:\s*<\?xml[^>]*\?>)?\s*<\w+[^>]*?(?:\/>|>\s*<\/\w+>)\s*$/

/** Where a bucket is reached by S3. */
export interface S3Bucket {
  client: S3Client
  name: string
}

/** What has to be known of a bucket before its objects are copied. */
export interface BucketState {
  versioning: 'Enabled' | 'Suspended' | undefined
  /** The ObjectLockConfiguration. */
  lock: string | undefined
  hasAcls: boolean
}

/** Reads how a bucket keeps versions. What the source does not have counts as off. */
export async function bucketState(source: S3Bucket, report: Report): Promise<BucketState> {
  const versioning = /<Status>(Enabled|Suspended)</.exec(
    (await document(source, 'versioning', report)) ?? '',
  )?.[1]
  const lock = await document(source, 'object-lock', report)
  const ownership = await document(source, 'ownershipControls', report)
  return {
    versioning: versioning as BucketState['versioning'],
    lock: lock?.includes('<ObjectLockEnabled>Enabled<') ? lock : undefined,
    hasAcls: ownership !== undefined && !ownership.includes('BucketOwnerEnforced'),
  }
}

/** Switches versions on, if the source has some, also for as long as they are copied where they are suspended. */
export async function prepareBucket(
  source: S3Bucket,
  destination: S3Bucket,
  state: BucketState,
  report: Report,
  except: readonly string[],
): Promise<void> {
  if (state.versioning) await put(destination, 'versioning', versioningXml('Enabled'), report)
  // A default retention would be given to versions that have none: it comes last.
  if (state.lock) await put(destination, 'object-lock', state.lock.replace(/<Rule>.*<\/Rule>/s, ''), report)
  await carry(source, destination, EARLY, report, except)
  if (state.hasAcls) {
    const acl = await document(source, 'acl', report)
    await told(report, destination, 'acl', () =>
      putAcl(destination.client, destination.name, undefined, '', { acl }),
    )
  }
}

/**
 * Gives a bucket the settings that act on objects, when these are there.
 * @param statements of its policy, beside those that the source has
 */
export async function finishBucket(
  source: S3Bucket,
  destination: S3Bucket,
  state: BucketState,
  report: Report,
  except: readonly string[],
  statements: readonly object[] = [],
): Promise<void> {
  if (state.lock) await put(destination, 'object-lock', state.lock, report)
  if (state.versioning === 'Suspended')
    await put(destination, 'versioning', versioningXml('Suspended'), report)
  await carry(source, destination, LATE, report, except)
  if (statements.length > 0) await addToPolicy(source, destination, statements, report)
}

/** Gives a bucket the policy of the source with further statements. */
async function addToPolicy(
  source: S3Bucket,
  destination: S3Bucket,
  statements: readonly object[],
  report: Report,
): Promise<void> {
  const text = mergedPolicy(await document(source, 'policy', report), statements)
  if (text !== undefined) return put(destination, 'policy', text, report)
  report.notCarried.add(
    `what users may do in parts of ${source.name}: its policy would be longer than 20 KiB, or is of an old version`,
  )
}

const versioningXml = (status: string) =>
  `<VersioningConfiguration><Status>${status}</Status></VersioningConfiguration>`

/** The settings that a bucket has, by the names of S3's sub-resources. */
export async function settingsOf(source: S3Bucket, report: Report): Promise<string[]> {
  const found: string[] = []
  for (const name of [...EARLY, ...LATE])
    if ((await document(source, name, report)) !== undefined) found.push(name)
  return found
}

async function carry(
  source: S3Bucket,
  destination: S3Bucket,
  names: readonly string[],
  report: Report,
  except: readonly string[],
): Promise<void> {
  for (const name of names) {
    if (except.includes(name)) continue
    const text = await document(source, name, report)
    if (text !== undefined) await put(destination, name, text, report)
  }
}

/** A setting's document; undefined if the bucket has none, or it may not be read, which the report tells. */
async function document(
  { client, name }: S3Bucket,
  what: string,
  report: Report,
): Promise<string | undefined> {
  try {
    const { body } = await client.bytes({ method: 'GET', bucket: name, query: { [what]: '' } })
    const text = body.toString()
    return text.trim() === '' || ROOT_ALONE.test(text) ? undefined : text
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    if (!NOTHING.test(error.code))
      report.notCarried.add(`${what} of ${name}: the source does not let it be read (${error.code})`)
    return undefined
  }
}

function put({ client, name }: S3Bucket, what: string, text: string, report: Report): Promise<void> {
  return told(report, { client, name }, what, async () => {
    await client.bytes({ method: 'PUT', bucket: name, query: { [what]: '' }, body: Buffer.from(text) })
  })
}

async function told(
  report: Report,
  { name }: S3Bucket,
  what: string,
  act: () => Promise<void>,
): Promise<void> {
  try {
    await act()
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    report.notCarried.add(`${what} of ${name}: the destination refuses it (${error.message})`)
  }
}
