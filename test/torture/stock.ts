import { deepStrictEqual } from 'node:assert'
import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import {
  CompleteMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { until } from '../life/kit/life-cluster.js'
import type { LifeNode } from '../life/kit/life-node.js'
import {
  type AccessKey,
  bucketsOf,
  type FilledStore,
  fillStore,
  giveNames,
  makeBuckets,
} from '../support/fill-store.js'
import { survey } from '../support/survey.js'
import { patiently } from './earlier.js'
import type { Torture } from './torture.js'

interface Found {
  versions: unknown[]
  listed: { Versions?: { Size: number }[]; DeleteMarkers?: unknown[] }
  objects: { Contents?: { Size: number }[] }
}

/** Something of everything, written at one moment through one node, and what S3 told of it then. */
export class Stock {
  readonly #store: FilledStore
  #expected: unknown

  /** @param name tells it from others, and begins the names of its buckets */
  private constructor(
    private readonly torture: Torture,
    readonly name: string,
  ) {
    const key = (owner: string): AccessKey => {
      const hex = createHash('sha256').update(`${owner} of ${name}`).digest('hex')
      return { accessKeyId: `GK${hex.slice(0, 24)}`, secretAccessKey: hex }
    }
    this.#store = { alice: key('alice'), bob: key('bob'), prefix: `${name}-` }
  }

  /**
   * Writes it through a node, and waits until `readers` tell the same of it.
   * @param namer the node that makes keys and buckets; the writer unless told
   */
  static async write(
    torture: Torture,
    name: string,
    writer: LifeNode,
    readers: readonly LifeNode[],
    namer = writer,
  ): Promise<Stock> {
    const stock = new Stock(torture, name)
    const { alice } = stock.#store
    await giveNames(stock.#store, (...args) => patiently(torture.cluster, namer, args))
    await stock.#as(namer, alice, (s3) => makeBuckets(stock.#store, s3))
    await until(
      30_000,
      () => `${writer.name} knows the buckets of "${name}"`,
      () => stock.#as(writer, alice, (s3) => knowsAll(s3, Object.values(bucketsOf(stock.#store)))),
    )
    await stock.#as(writer, alice, (s3) => fillStore(stock.#store, s3))
    await stock.#remember(writer, readers)
    return stock
  }

  /** Compares what a node tells with what was told when it was written; a difference is a violation. */
  async check(node: LifeNode, when: string): Promise<void> {
    const { torture, name } = this
    const told = await this.#survey(node)
    try {
      deepStrictEqual(told, this.#expected)
      await this.#checkPermissions(node)
    } catch (error) {
      torture.load.violations.push(
        `${when}, ${node.name} tells another thing of "${name}": ${(error as Error).message.slice(0, 2000)}`,
      )
    }
  }

  /** Compares the names and limits of the first bucket, and the counters of each if `isCounted`, with what is there. */
  async checkBuckets(node: LifeNode, when: string, isCounted: boolean): Promise<void> {
    const { found } = this.#expected as { found: Record<string, Found> }
    for (const [bucket, { listed, objects }] of Object.entries(found)) {
      const info = await node.admin<Record<string, unknown>>(
        'GetBucketInfo',
        undefined,
        `?globalAlias=${bucket}`,
      )
      const sizes = (listed.Versions ?? []).map(({ Size }) => Size)
      const expected: Record<string, unknown> = {
        ...(isCounted && {
          objects: objects.Contents?.length ?? 0,
          bytes: sizes.reduce((all, size) => all + size, 0),
        }),
      }
      if (bucket === bucketsOf(this.#store).plain) {
        expected.globalAliases = [bucket, `${this.#store.prefix}second-name`].sort()
        expected.quotas = { maxSize: 2 ** 30, maxObjects: 1000 }
      }
      const told = Object.fromEntries(Object.keys(expected).map((key) => [key, info[key]]))
      if (Array.isArray(told.globalAliases)) told.globalAliases.sort()
      if (isDeepStrictEqual(told, expected)) continue
      this.torture.load.violations.push(
        `${when}, ${node.name} has of ${bucket} ${JSON.stringify(told)}, not ${JSON.stringify(expected)}`,
      )
    }
  }

  /** Changes, completes and deletes something of what is there, and waits until `readers` tell the same of it. */
  async change(writer: LifeNode, readers: readonly LifeNode[]): Promise<void> {
    const { plain, versions } = bucketsOf(this.#store)
    await this.#as(writer, this.#store.alice, async (s3) => {
      await complete(s3, plain, 'open')
      await s3.send(new PutObjectCommand({ Bucket: plain, Key: 'inline', Body: 'overwritten' }))
      await s3.send(new PutObjectCommand({ Bucket: versions, Key: 'hidden', Body: 'seen again' }))
      await s3.send(new DeleteObjectCommand({ Bucket: plain, Key: 'lists' }))
      await s3.send(new DeleteObjectCommand({ Bucket: plain, Key: 'blocks' }))
      const Tagging = { TagSet: [{ Key: 'new', Value: 'tag' }] }
      await s3.send(new PutObjectTaggingCommand({ Bucket: plain, Key: 'copy', Tagging }))
    })
    await this.#remember(writer, readers)
  }

  async #remember(writer: LifeNode, readers: readonly LifeNode[]): Promise<void> {
    this.#expected = await this.#survey(writer)
    // Settings reach the other nodes within seconds.
    const others = readers.filter((node) => node !== writer)
    await Promise.all(
      others.map((node) =>
        until(
          60_000,
          () => `${node.name} tells the same of "${this.name}" as ${writer.name}`,
          async () => isDeepStrictEqual(await this.#survey(node), this.#expected),
        ),
      ),
    )
  }

  #survey(node: LifeNode): Promise<unknown> {
    return this.#as(node, this.#store.alice, (s3) => survey(s3, Object.values(bucketsOf(this.#store))))
  }

  /** Bob reads what he may by his own name for the bucket and by a policy, and writes nothing. */
  async #checkPermissions(node: LifeNode): Promise<void> {
    const { plain, settings } = bucketsOf(this.#store)
    await this.#as(node, this.#store.bob, async (s3) => {
      await s3.send(new GetObjectCommand({ Bucket: 'mine', Key: 'folder/ümlaut\u0001' }))
      await s3.send(new GetObjectCommand({ Bucket: settings, Key: 'shared/note' }))
      const refused = await s3.send(new PutObjectCommand({ Bucket: plain, Key: 'no', Body: '' })).then(
        () => undefined,
        (error: Error) => error.name,
      )
      if (refused !== 'AccessDenied')
        throw new Error(`a write by bob was answered ${refused ?? 'with success'}`)
    })
  }

  async #as<T>(node: LifeNode, credentials: AccessKey, use: (s3: S3Client) => Promise<T>): Promise<T> {
    const s3 = new S3Client({
      endpoint: node.endpoint,
      region: 'garage',
      forcePathStyle: true,
      // What an earlier release refuses is not today's fault.
      maxAttempts: node.settings.program ? 5 : 1,
      credentials,
    })
    try {
      return await use(s3)
    } finally {
      s3.destroy()
    }
  }
}

async function knowsAll(s3: S3Client, buckets: readonly string[]): Promise<boolean> {
  const { Buckets } = await s3.send(new ListBucketsCommand({}))
  return buckets.every((name) => Buckets?.some(({ Name }) => Name === name))
}

/** Completes the one open upload of a key with its first two parts: the last one is too short to be followed by another. */
async function complete(s3: S3Client, Bucket: string, Key: string): Promise<void> {
  const { Uploads } = await s3.send(new ListMultipartUploadsCommand({ Bucket }))
  const { UploadId } = Uploads!.find((upload) => upload.Key === Key)!
  const { Parts } = await s3.send(new ListPartsCommand({ Bucket, Key, UploadId }))
  const parts = Parts!.map(({ PartNumber, ETag, ChecksumCRC32 }) => ({ PartNumber, ETag, ChecksumCRC32 }))
  await s3.send(
    new CompleteMultipartUploadCommand({
      Bucket,
      Key,
      UploadId,
      MultipartUpload: { Parts: parts.slice(0, 2) },
    }),
  )
}
