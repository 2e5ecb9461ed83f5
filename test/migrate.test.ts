/** `carport migrate` and `carport export` as users run them: processes of the program, between clusters of real nodes. */
import { execFile, execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetBucketCorsCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketPolicyCommand,
  GetBucketTaggingCommand,
  GetBucketVersioningCommand,
  GetBucketWebsiteCommand,
  GetObjectAclCommand,
  GetObjectCommand,
  GetObjectLockConfigurationCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  PutBucketCorsCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketOwnershipControlsCommand,
  PutBucketPolicyCommand,
  PutBucketTaggingCommand,
  PutBucketVersioningCommand,
  PutBucketWebsiteCommand,
  PutObjectCommand,
  PutObjectLockConfigurationCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { PROGRAM, ProcessCluster } from './support/processes.js'

const run = promisify(execFile)
// Each run of the program is a process, which takes its time on a loaded machine.
vi.setConfig({ testTimeout: 180_000 })
const MIB = 1 << 20
const ADMIN_TOKEN = 'source-token'

let from: ProcessCluster
let to: ProcessCluster
let source: S3Client
let target: S3Client
let key: { accessKeyId: string; secretAccessKey: string }

const clientOf = (cluster: ProcessCluster, credentials: typeof key) =>
  new S3Client({ endpoint: cluster.endpoint(0), region: 'garage', forcePathStyle: true, credentials })

beforeAll(async () => {
  from = await ProcessCluster.create(1, 1, `admin_token = "${ADMIN_TOKEN}"`)
  to = await ProcessCluster.create(1, 1)
  await Promise.all([from.startAndLayOut(), to.startAndLayOut()])
  key = await from.createKey('app')
  source = clientOf(from, key)
  target = clientOf(to, key)
})

afterAll(async () => {
  source?.destroy()
  target?.destroy()
  await Promise.all([from?.dispose(), to?.dispose()])
})

interface Result {
  status: number
  json: Record<string, unknown> & { notCarried: string[]; failed: string[]; differences: string[] }
  err: string
}

const args = (...words: string[]) => [
  ...PROGRAM.slice(1),
  ...['-c', join(to.dir, 'n0.toml')],
  ...words,
  // Objects go to the S3 address in the node's configuration.
  '--json',
]
const env = () => ({
  PATH: process.env.PATH,
  CARPORT_MIGRATE_ACCESS_KEY_ID: key.accessKeyId,
  CARPORT_MIGRATE_SECRET_ACCESS_KEY: key.secretAccessKey,
  CARPORT_MIGRATE_ADMIN_TOKEN: ADMIN_TOKEN,
})

async function carport(...words: string[]): Promise<Result> {
  const ended = await run(PROGRAM[0], args(...words), { env: env() }).then(
    ({ stdout, stderr }) => ({ status: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({ ...error, status: error.code }),
  )
  const json = ended.stdout === '' ? {} : (JSON.parse(ended.stdout) as object)
  return { status: ended.status, json: json as Result['json'], err: ended.stderr }
}

const migrate = (journal: string, ...words: string[]) =>
  carport('migrate', from.endpoint(0), '--region', 'garage', '--journal', join(to.dir, journal), ...words)
const byAdmin = () => ['--admin', `http://127.0.0.1:${from.adminPorts[0]}`]

/** What clients see of all versions of a bucket, the oldest first: times, content, headers, tags. */
async function picture(client: S3Client, Bucket: string): Promise<unknown[]> {
  const listed = await client.send(new ListObjectVersionsCommand({ Bucket }))
  const markers = new Set((listed.DeleteMarkers ?? []).map(({ VersionId }) => VersionId))
  const all = [...(listed.Versions ?? []), ...(listed.DeleteMarkers ?? [])].sort(
    (a, b) =>
      Buffer.compare(Buffer.from(a.Key!), Buffer.from(b.Key!)) ||
      Number(a.LastModified) - Number(b.LastModified) ||
      a.VersionId!.localeCompare(b.VersionId!),
  )
  const seen: unknown[] = []
  for (const { Key, VersionId, LastModified } of all) {
    const modified = LastModified!.toISOString()
    if (markers.has(VersionId)) {
      seen.push([Key, modified, 'deleted'])
      continue
    }
    const got = await client.send(new GetObjectCommand({ Bucket, Key, VersionId }))
    const body = await got.Body!.transformToByteArray()
    const tags = await client.send(new GetObjectTaggingCommand({ Bucket, Key, VersionId }))
    const { ETag, ContentType, CacheControl, Metadata, WebsiteRedirectLocation } = got
    const { ObjectLockMode, ObjectLockRetainUntilDate, ObjectLockLegalHoldStatus } = got
    seen.push([
      ...[
        Key,
        modified,
        createHash('sha256').update(body).digest('hex'),
        ETag,
        ContentType,
        CacheControl,
        Metadata,
      ],
      ...[WebsiteRedirectLocation, tags.TagSet, ObjectLockMode, ObjectLockLegalHoldStatus],
      ObjectLockRetainUntilDate?.toISOString(),
    ])
  }
  return seen
}

async function putParts(Bucket: string, Key: string, sizes: readonly number[]): Promise<void> {
  const { UploadId } = await source.send(
    new CreateMultipartUploadCommand({ Bucket, Key, ContentType: 'video/mp4', Metadata: { film: 'yes' } }),
  )
  const Parts = []
  for (const [i, size] of sizes.entries()) {
    const part = { Bucket, Key, UploadId, PartNumber: i + 1 }
    const { ETag } = await source.send(new UploadPartCommand({ ...part, Body: randomBytes(size) }))
    Parts.push({ PartNumber: i + 1, ETag })
  }
  await source.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
}

test('a store moves with its keys, names, settings, versions, locks and everything that objects have', async () => {
  await from.cli(0, 'key', 'create', 'reader')
  await source.send(new CreateBucketCommand({ Bucket: 'plain' }))
  const put = (Bucket: string, Key: string, Body: string | Buffer, more = {}) =>
    source.send(new PutObjectCommand({ Bucket, Key, Body, ...more }))
  await put('plain', 'a/../b?c=%20 +ü', 'an odd name', { Metadata: { name: 'value  x' } })
  await put('plain', 'empty', Buffer.alloc(0), { ContentType: 'text/x-empty', CacheControl: 'max-age=5' })
  await put('plain', 'tagged', 'tags', { Tagging: 'a=b%20c&d=', ContentType: 'text/plain' })
  await put('plain', 'moved.html', 'x', { WebsiteRedirectLocation: '/empty' })
  await putParts('plain', 'film', [6 * MIB, 5 * MIB, 1234])
  await source.send(
    new PutBucketCorsCommand({
      ...{ Bucket: 'plain' },
      CORSConfiguration: { CORSRules: [{ AllowedMethods: ['GET'], AllowedOrigins: ['https://a.example'] }] },
    }),
  )
  await source.send(
    new PutBucketWebsiteCommand({
      ...{ Bucket: 'plain' },
      WebsiteConfiguration: {
        IndexDocument: { Suffix: 'index.html' },
        RoutingRules: [
          { Condition: { KeyPrefixEquals: 'old/' }, Redirect: { ReplaceKeyPrefixWith: 'new/' } },
        ],
      },
    }),
  )
  await source.send(
    new PutBucketLifecycleConfigurationCommand({
      ...{ Bucket: 'plain' },
      LifecycleConfiguration: {
        Rules: [{ ID: 'r', Status: 'Enabled', Filter: { Prefix: 'tmp/' }, Expiration: { Days: 3 } }],
      },
    }),
  )
  const Policy = JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      { Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: 'arn:aws:s3:::plain/pub/*' },
    ],
  })
  await source.send(new PutBucketPolicyCommand({ Bucket: 'plain', Policy }))
  await source.send(
    new PutBucketTaggingCommand({ Bucket: 'plain', Tagging: { TagSet: [{ Key: 'k', Value: 'v' }] } }),
  )
  await from.cli(0, 'bucket', 'alias', 'plain', 'second-name')
  await from.cli(0, 'bucket', 'alias', '--local', key.accessKeyId, 'plain', 'mine')
  await from.cli(0, 'bucket', 'set-quotas', 'plain', '--max-size', '10GiB', '--max-objects', '5000')
  await from.cli(0, 'bucket', 'allow', '--read', 'plain', '--key', 'reader')

  await source.send(new CreateBucketCommand({ Bucket: 'versions' }))
  await put('versions', 'k', 'before versions')
  const versioning = (Status: 'Enabled' | 'Suspended') =>
    source.send(new PutBucketVersioningCommand({ Bucket: 'versions', VersioningConfiguration: { Status } }))
  await versioning('Enabled')
  await put('versions', 'k', 'one')
  await put('versions', 'k', 'one')
  await source.send(new DeleteObjectCommand({ Bucket: 'versions', Key: 'k' }))
  await put('versions', 'k', 'two', { Metadata: { v: '2' } })
  await put('versions', 'gone', 'was here')
  await source.send(new DeleteObjectCommand({ Bucket: 'versions', Key: 'gone' }))
  await versioning('Suspended')

  await source.send(new CreateBucketCommand({ Bucket: 'locked', ObjectLockEnabledForBucket: true }))
  await put('locked', 'kept', 'kept', {
    ObjectLockMode: 'GOVERNANCE',
    ObjectLockRetainUntilDate: new Date(Date.now() + 86_400_000),
    ObjectLockLegalHoldStatus: 'ON',
  })
  await source.send(
    new PutObjectLockConfigurationCommand({
      ...{ Bucket: 'locked' },
      ObjectLockConfiguration: {
        ObjectLockEnabled: 'Enabled',
        Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 1 } },
      },
    }),
  )
  await source.send(new CreateBucketCommand({ Bucket: 'lists' }))
  await source.send(
    new PutBucketOwnershipControlsCommand({
      ...{ Bucket: 'lists' },
      OwnershipControls: { Rules: [{ ObjectOwnership: 'ObjectWriter' }] },
    }),
  )
  await put('lists', 'open', 'for all', { ACL: 'public-read' })

  const plan = await migrate('all', '--dry-run', ...byAdmin())
  expect(plan.err).not.toMatch(/carport: /)
  expect(plan).toMatchObject({ status: 0, json: { found: 14, toCopy: 14, copied: 0 } })
  expect(plan.json.notCarried.join('\n')).toMatch(/version ids in versions/)
  expect(plan.json.notCarried.join('\n')).not.toMatch(/Last-Modified/)
  expect(await to.cli(0, 'bucket', 'list')).not.toContain('plain')

  const moved = await migrate('all', ...byAdmin())
  expect(moved).toMatchObject({ status: 0, json: { copied: 14, failed: [] } })
  for (const Bucket of ['plain', 'versions', 'locked', 'lists'])
    expect([Bucket, await picture(target, Bucket)]).toEqual([Bucket, await picture(source, Bucket)])
  // biome-ignore lint/suspicious/noExplicitAny: several commands
  const same = async (command: any) => {
    const [a, b] = await Promise.all([source.send(command), target.send(command)])
    const { $metadata: _a, ...left } = a as unknown as Record<string, unknown>
    const { $metadata: _b, ...right } = b as unknown as Record<string, unknown>
    expect(right).toEqual(left)
  }
  const Bucket = 'plain'
  await same(new GetBucketCorsCommand({ Bucket }))
  await same(new GetBucketWebsiteCommand({ Bucket }))
  await same(new GetBucketLifecycleConfigurationCommand({ Bucket }))
  await same(new GetBucketPolicyCommand({ Bucket }))
  await same(new GetBucketTaggingCommand({ Bucket }))
  await same(new GetBucketVersioningCommand({ Bucket: 'versions' }))
  await same(new GetObjectLockConfigurationCommand({ Bucket: 'locked' }))
  const { Grants } = await target.send(new GetObjectAclCommand({ Bucket: 'lists', Key: 'open' }))
  expect(Grants!.map(({ Grantee, Permission }) => `${Grantee!.Type} ${Permission}`)).toContain('Group READ')
  const info = async (cluster: ProcessCluster) => {
    const { globalAliases, keys, quotas } = JSON.parse(
      await cluster.cli(0, 'bucket', 'info', 'plain', '--json'),
    ) as { globalAliases: string[]; keys: { accessKeyId: string }[]; quotas: object }
    keys.sort((a, b) => (a.accessKeyId < b.accessKeyId ? -1 : 1))
    return { globalAliases: globalAliases.sort(), keys, quotas }
  }
  expect(await info(to)).toEqual(await info(from))
  expect(await to.cli(0, 'key', 'list')).not.toContain('migration')

  const again = await migrate('all', ...byAdmin())
  expect(again).toMatchObject({ status: 0, json: { copied: 0, unchanged: 14, failed: [] } })
  const proof = await migrate('all', '--verify', ...byAdmin())
  expect(proof).toMatchObject({ status: 0, json: { verified: 14, differences: [] } })
})

test('a later run takes only what changed, deletes what is gone when told to, and --verify finds a changed byte', async () => {
  const Bucket = 'changes'
  await source.send(new CreateBucketCommand({ Bucket }))
  for (const Key of ['a', 'b', 'c'])
    await source.send(new PutObjectCommand({ Bucket, Key, Body: `1 ${Key}` }))
  const only = ['--bucket', Bucket]
  expect(await migrate('changes', ...only)).toMatchObject({ status: 0, json: { copied: 3 } })
  await source.send(new PutObjectCommand({ Bucket, Key: 'b', Body: '2 b' }))
  await source.send(new DeleteObjectCommand({ Bucket, Key: 'c' }))
  expect(await migrate('changes', ...only)).toMatchObject({
    status: 0,
    json: { copied: 1, unchanged: 1, removed: 0, gone: ['changes/c'] },
  })
  expect(await migrate('changes', ...only, '--delete')).toMatchObject({ json: { copied: 0, removed: 1 } })
  expect(await migrate('changes', ...only, '--verify')).toMatchObject({ status: 0, json: { verified: 2 } })
  const worker = await to.createKey('other')
  await to.cli(0, 'bucket', 'allow', '--write', Bucket, '--key', worker.accessKeyId)
  const other = clientOf(to, worker)
  await other.send(new PutObjectCommand({ Bucket, Key: 'a', Body: '1 A' }))
  other.destroy()
  const found = await migrate('changes', ...only, '--verify')
  expect(found).toMatchObject({
    status: 1,
    json: { differences: ['changes/a: the content is not the same'] },
  })
  expect(found.err).toMatch(/carport: 1 differences/)
  expect(await carport('migrate', to.endpoint(0), '--dry-run')).toMatchObject({
    status: 2,
    err: expect.stringContaining('is this cluster itself'),
  })
  // A wrong address, and a look, leave the journal to the next one.
  const unused = await carport('migrate', 'http://127.0.0.1:1', '--journal', join(to.dir, 'wrong'))
  expect(unused).toMatchObject({
    status: 1,
    err: expect.stringContaining('cannot go on: connect ECONNREFUSED'),
  })
  expect(await migrate('wrong', ...only, '--dry-run')).toMatchObject({ status: 0 })
  expect(await migrate('wrong', '--bucket', 'no-such-bucket')).toMatchObject({
    status: 1,
    err: expect.stringContaining('the source has no bucket no-such-bucket'),
  })
  // The journal is of one pair of stores.
  expect(await carport('migrate', to.dir, '--journal', join(to.dir, 'changes'))).toMatchObject({ status: 2 })
})

test('a run that is killed goes on where it was, and copies no version twice', async () => {
  const Bucket = 'killed'
  await source.send(new CreateBucketCommand({ Bucket }))
  await source.send(
    new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }),
  )
  const count = 240
  const keys = Array.from({ length: count }, (_, i) => `k${i % 80}`)
  for (let i = 0; i < count; i += 40)
    await Promise.all(
      keys
        .slice(i, i + 40)
        .map((Key) => source.send(new PutObjectCommand({ Bucket, Key, Body: randomBytes(2000) }))),
    )
  const words = [
    'migrate',
    from.endpoint(0),
    '--region',
    'garage',
    '--bucket',
    Bucket,
    '--journal',
    join(to.dir, 'killed'),
  ]
  const admin = async () =>
    (
      JSON.parse(await to.cli(0, 'bucket', 'info', Bucket, '--json').catch(() => '{"bytes":0}')) as {
        bytes: number
      }
    ).bytes
  let kills = 0
  for (const after of [40_000, 160_000]) {
    const child = spawn(PROGRAM[0], args(...words), { env: env(), stdio: 'ignore' })
    const ended = new Promise<NodeJS.Signals | null>((resolve) =>
      child.on('exit', (_, signal) => resolve(signal)),
    )
    let isOver = false
    void ended.then(() => {
      isOver = true
    })
    while (!isOver && (await admin()) < after);
    child.kill('SIGKILL')
    if ((await ended) === 'SIGKILL') kills++
  }
  expect(kills).toBeGreaterThan(0)
  const last = await carport(...words)
  expect(last).toMatchObject({ status: 0, json: { failed: [] } })
  expect(last.json.copied).toBeLessThan(count)
  const reader = await to.createKey('reader of killed')
  await to.cli(0, 'bucket', 'allow', '--read', Bucket, '--key', reader.accessKeyId)
  const client = clientOf(to, reader)
  const etags = async (s3: S3Client) => {
    const { Versions } = await s3.send(new ListObjectVersionsCommand({ Bucket }))
    return Versions!.map(({ Key, ETag }) => `${Key} ${ETag}`)
  }
  expect(await etags(client)).toEqual(await etags(source))
  client.destroy()
  expect(await to.cli(0, 'key', 'list')).not.toContain('migration')
})

test('export to another Carport keeps times, if its key owns the bucket there, else names them', async () => {
  const Bucket = 'back'
  await source.send(new CreateBucketCommand({ Bucket }))
  await source.send(
    new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }),
  )
  for (const Body of ['one', 'two']) await source.send(new PutObjectCommand({ Bucket, Key: 'k', Body }))
  await source.send(new DeleteObjectCommand({ Bucket, Key: 'k' }))
  const before = await picture(source, Bucket)
  expect(await migrate('there', '--bucket', Bucket)).toMatchObject({ status: 0, json: { copied: 3 } })

  const out = (journal: string, ...words: string[]) => {
    const at = ['--region', 'garage', '--bucket', Bucket, '--journal', join(to.dir, journal)]
    return carport('export', from.endpoint(0), ...at, ...words)
  }
  const untimed = expect.stringMatching(/^Last-Modified of objects in back: only another Carport takes it/)
  const empty = async () => {
    const { Versions = [], DeleteMarkers = [] } = await source.send(new ListObjectVersionsCommand({ Bucket }))
    for (const { Key, VersionId } of [...Versions, ...DeleteMarkers])
      await source.send(new DeleteObjectCommand({ Bucket, Key, VersionId }))
  }
  await empty()
  expect((await out('owned', '--dry-run')).json.notCarried).not.toContainEqual(untimed)
  expect(await out('owned')).toMatchObject({ status: 0, json: { copied: 3, failed: [] } })
  expect(await picture(source, Bucket)).toEqual(before)
  expect(await out('owned', '--verify')).toMatchObject({ status: 0, json: { differences: [] } })

  // Versions are kept already: the key needs no more than to write.
  await empty()
  const words = ['bucket', 'deny', '--owner', Bucket, '--key', key.accessKeyId]
  await from.cli(0, ...words)
  expect((await out('denied', '--dry-run')).json.notCarried).toContainEqual(untimed)
  const denied = await out('denied')
  expect(denied).toMatchObject({ json: { copied: 3, failed: [] } })
  expect(denied.json.notCarried).toContainEqual(untimed)
  const now = await source.send(new ListObjectVersionsCommand({ Bucket }))
  expect(now.Versions!.map(({ ETag }) => ETag)).toHaveLength(2)
  expect(JSON.stringify(await picture(source, Bucket))).not.toBe(JSON.stringify(before))
})

test('export writes a folder, and migrate reads one', async () => {
  const folder = join(to.dir, 'exported')
  mkdirSync(folder)
  const out = await carport('export', folder, '--bucket', 'plain', '--journal', join(to.dir, 'out'))
  // "a/../b…" is no path that a file below the folder could have.
  expect(out).toMatchObject({ status: 1, json: { copied: 4 } })
  expect(out.json.failed).toEqual([expect.stringMatching(/a\/\.\.\/b.*no file can have this name/)])
  expect(readFileSync(join(folder, 'plain/tagged'), 'utf8')).toBe('tags')
  expect(
    await carport('export', folder, '--bucket', 'plain', '--journal', join(to.dir, 'out')),
  ).toMatchObject({
    json: { copied: 0, unchanged: 4 },
  })
  mkdirSync(join(folder, 'site/css'), { recursive: true })
  writeFileSync(join(folder, 'site/index.html'), '<p>hello')
  writeFileSync(join(folder, 'site/css/a.css'), 'p {}')
  const words = ['migrate', folder, '--bucket', 'site', '--journal', join(to.dir, 'in')]
  expect(await carport(...words)).toMatchObject({ status: 0, json: { copied: 2 } })
  expect(await carport(...words, '--verify')).toMatchObject({ status: 0, json: { verified: 2 } })
  writeFileSync(join(folder, 'site/index.html'), '<p>hello again')
  utimesSync(join(folder, 'site/index.html'), 1_000_000_000.5, 1_000_000_000.5)
  expect(await carport(...words)).toMatchObject({ status: 0, json: { copied: 1, unchanged: 1 } })
  const site = await to.createKey('site reader')
  await to.cli(0, 'bucket', 'allow', '--read', 'site', '--key', site.accessKeyId)
  const client = clientOf(to, site)
  const head = await client.send(new HeadObjectCommand({ Bucket: 'site', Key: 'index.html' }))
  expect(head.ContentType).toBe('text/html')
  const mtimeS = Math.floor(statSync(join(folder, 'site/index.html')).mtimeMs / 1000)
  expect(Number(head.LastModified) / 1000).toBe(mtimeS)
  client.destroy()
})

test('what migrate cannot read of a folder is named as failed, and is not taken for deleted', async () => {
  const folder = join(to.dir, 'unclean')
  const bytes = (name: string) => Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name, 'latin1')])
  mkdirSync(join(folder, 'messy/linked'), { recursive: true })
  writeFileSync(join(folder, 'messy/good'), 'good')
  writeFileSync(join(folder, 'messy/linked/file'), 'behind a link later')
  const words = ['migrate', folder, '--bucket', 'messy', '--journal', join(to.dir, 'unclean-journal')]
  expect(await carport(...words)).toMatchObject({ status: 0, json: { copied: 2, failed: [] } })
  renameSync(join(folder, 'messy/linked'), join(folder, 'away'))
  symlinkSync(join(folder, 'nowhere'), join(folder, 'messy/linked'))
  symlinkSync(join(folder, 'messy/loop'), join(folder, 'messy/loop'))
  mkdirSync(bytes('messy/caf\xe9'))
  writeFileSync(bytes('messy/caf\xe9/menu'), 'below')
  writeFileSync(bytes('messy/\xff'), 'file')
  execFileSync('mkfifo', [join(folder, 'messy/pipe')])
  const failed = [
    expect.stringMatching(/^messy\/linked: it is a link that leads nowhere$/),
    expect.stringMatching(/^messy\/loop: it is a link that leads nowhere$/),
    expect.stringMatching(/^messy\/pipe: it is neither a file nor a folder$/),
    expect.stringMatching(/^messy\/caf\ufffd: its name is not UTF-8 \(bytes 636166e9\)$/),
    expect.stringMatching(/^messy\/\ufffd: its name is not UTF-8 \(bytes ff\)$/),
  ]
  const again = await carport(...words, '--delete')
  expect(again).toMatchObject({ status: 1, json: { copied: 0, unchanged: 1, removed: 0 } })
  expect(again.json.failed).toHaveLength(failed.length)
  expect(again.json.failed).toEqual(expect.arrayContaining(failed))
  const verified = await carport(...words, '--verify')
  expect(verified.status).toBe(1)
  expect(verified.json.failed).toEqual(expect.arrayContaining(failed))
})
