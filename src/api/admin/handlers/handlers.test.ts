import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AdminCluster, BLOCK_BYTES, contentOf } from '../../../../testing/admin-nodes.js'
import { errorCode } from '../../../util/errors.js'
import { operationSchemas } from '../operation-schemas.js'

// One node that stores one copy.

const cluster = new AdminCluster(1)
/** Operations that are tested in maintenance.test.ts. */
const MAINTENANCE = /^(worker|block|repair|meta)\./
/** Operations that diagnosis.test.ts and progress.test.ts call. */
const DIAGNOSIS = /^(.*\.(diagnose|progress)|node\.figures)/
/** Operations that test/admin-api.test.ts and test/bucket-settings.test.ts call over HTTP. */
const OVER_HTTP =
  /^(adminToken|.*\.listInfo|cluster\.health|node\.info|layout\.(preview|plan)|bucket\.(settings|updateSettings|dropMarkers))/

beforeAll(async () => {
  await cluster.start()
})
afterAll(async () => {
  await cluster.stop()
  const names = Object.keys(operationSchemas).filter(
    (name) => !MAINTENANCE.test(name) && !DIAGNOSIS.test(name) && !OVER_HTTP.test(name),
  )
  expect([...cluster.called].sort()).toEqual(expect.arrayContaining(names))
})

const node = () => cluster.nodes[0]!
const model = () => node().core.model
const newBucket = (name: string) => cluster.newBucket(name)

const call: typeof cluster.call = (operation, args) => cluster.call(operation, args)
const onSelf: typeof cluster.onSelf = (response) => cluster.onSelf(response)

describe('layout', () => {
  it('before the first one, what needs the data says how to make one', async () => {
    await expect(call('bucket.create', { globalAlias: 'early' })).rejects.toThrow(/carport layout assign/)
    expect((await call('status', {})).layoutVersion).toBe(0)
    expect(await call('layout.show', {})).toMatchObject({ preview: null, layout: { version: 0 } })
  })

  it('is staged, shown, reverted, staged again and applied', async () => {
    const role = { id: node().id, zone: 'z1', tags: ['ssd'], capacity: 1e12 }
    const staged = await call('layout.stage', {
      roles: [role],
      parameters: { zoneRedundancy: { atLeast: 1 } },
    })
    expect(staged).toMatchObject({
      version: 0,
      stagedRoleChanges: [role],
      stagedParameters: { zoneRedundancy: { atLeast: 1 } },
    })
    const shown = await call('layout.show', {})
    expect(shown.preview).toMatchObject({
      newLayout: { version: 1, roles: [{ ...role, storedPartitions: 256 }] },
    })
    expect(shown.text.join('\n')).toContain('carport layout apply --version 1')
    expect(await call('layout.revert', {})).toMatchObject({ stagedRoleChanges: [], stagedParameters: null })

    await call('layout.stage', { roles: [role] })
    await expect(call('layout.apply', { version: 2 })).rejects.toThrow(/next one is 1, not 2/)
    const applied = await call('layout.apply', { version: 1 })
    expect(applied.layout).toMatchObject({
      version: 1,
      roles: [{ ...role, usableCapacity: expect.any(Number) }],
    })
    expect(applied.message.join('\n')).toContain('Layout version 1')
    expect(await call('layout.get', {})).toEqual(applied.layout)
    expect(await call('layout.history', {})).toEqual({
      currentVersion: 1,
      minAck: 1,
      versions: [{ version: 1, status: 'Current', storageNodes: 1, gatewayNodes: 0 }],
      updateTrackers: null,
    })
  })

  it('that cannot be applied is shown with the reason', async () => {
    await call('layout.stage', { roles: [{ id: node().id, remove: true }] })
    const { preview, text } = await call('layout.show', {})
    expect(preview).toEqual({ error: expect.stringContaining('needs at least 1 nodes') })
    expect(text.join('\n')).toContain('cannot be applied')
    await call('layout.revert', {})
  })

  it('has nothing to skip without a change under way', async () => {
    const args = { version: 1, allowMissingData: false }
    await expect(call('layout.skipDeadNodes', args)).rejects.toThrow(/no change under way/)
  })
})

describe('cluster', () => {
  it('status shows the node with its role, space and what it has still to do', async () => {
    await cluster.clock.advance(10_000)
    expect(await call('status', {})).toEqual({
      layoutVersion: 1,
      nodes: [
        {
          id: node().id,
          garageVersion: '1.2.3',
          hostname: 'n0',
          addr: null,
          isUp: true,
          lastSeenSecsAgo: 0,
          role: { zone: 'z1', tags: ['ssd'], capacity: 1e12 },
          draining: false,
          dataPartition: { available: 500e9, total: 1000e9 },
          metadataPartition: { available: 50e9, total: 100e9 },
          syncQueueLength: 0,
          resyncQueueLen: 0,
          clockOffMs: 0,
          clockDoubt: null,
          partitions: { compared: 257, total: 257 },
          damagedRows: 0,
          lostFolders: null,
        },
      ],
    })
  })

  it('a connection that fails is told in the result', async () => {
    const [bad, absent] = await call('node.connect', { nodes: ['nonsense', `${'ab'.repeat(32)}@nowhere:1`] })
    expect(bad).toEqual({ success: false, error: expect.stringMatching(/nonsense/) })
    expect(absent).toEqual({ success: false, error: expect.stringMatching(/nowhere.*carport status/s) })
  })

  it('statistics name the tables and the space that is left', async () => {
    const { freeform } = await onSelf(call('node.statistics', { node: 'self' }))
    expect(freeform).toMatch(/block_ref +0/)
    expect((await call('cluster.statistics', {})).freeform).toMatch(/healthy[\s\S]*data: +500.0 GB/)
  })
})

describe('keys', () => {
  it('are made, shown, changed and deleted', async () => {
    const key = await call('key.create', {
      name: 'app',
      expiration: '2030-01-02T03:04:05+01:00',
      allow: { createBucket: true },
    })
    expect(key).toMatchObject({
      accessKeyId: expect.stringMatching(/^GK[0-9a-f]{24}$/),
      secretAccessKey: expect.stringMatching(/^[0-9a-f]{64}$/),
      expiration: '2030-01-02T02:04:05.000Z',
      expired: false,
      permissions: { createBucket: true },
      buckets: [],
    })
    const id = key.accessKeyId
    for (const query of [{ id }, { search: id.slice(0, 8) }, { search: 'app' }]) {
      expect(await call('key.info', query)).toEqual({ ...key, secretAccessKey: null })
    }
    expect(await call('key.info', { id, showSecretKey: true })).toEqual(key)
    const changed = await call('key.update', {
      id,
      name: 'other',
      neverExpires: true,
      deny: { createBucket: true },
    })
    expect(changed).toMatchObject({ name: 'other', expiration: null, permissions: { createBucket: false } })
    const expired = await call('key.update', { id, expiration: '2001-01-01T00:00:00Z' })
    expect(expired).toMatchObject({ expired: true, name: 'other' })
    expect(await call('key.list', {})).toEqual([
      { id, name: 'other', created: key.created, expiration: '2001-01-01T00:00:00.000Z', expired: true },
    ])
    await call('key.delete', { id })
    expect(await call('key.list', {})).toEqual([])
    await expect(call('key.info', { id })).rejects.toSatisfy((error) => errorCode(error) === 'NotFound')
  })

  it('are taken over from elsewhere, with one secret, however often', async () => {
    const args = { accessKeyId: 'GKimported', secretAccessKey: 'very-secret', name: null }
    expect(await call('key.import', args)).toMatchObject({
      name: 'Imported key',
      secretAccessKey: 'very-secret',
    })
    expect(await call('key.import', args)).toMatchObject({ name: 'Imported key' })
    const other = { ...args, secretAccessKey: 'another-secret' }
    await expect(call('key.import', other)).rejects.toThrow(/exists already/)
    await expect(call('key.import', { ...args, accessKeyId: 'a/b' })).rejects.toThrow(/key id/)
  })

  it('with one name are told apart by their ids only', async () => {
    const a = await call('key.create', { name: 'twin' })
    await call('key.create', { name: 'twin' })
    await expect(call('key.info', { search: 'twin' })).rejects.toThrow(/2 access keys are named "twin"/)
    await expect(call('key.info', { search: 'GK' })).rejects.toThrow(/ids that start with "GK"/)
    await expect(call('key.info', { search: 'none' })).rejects.toThrow(/carport key list/)
    const both = { id: a.accessKeyId, neverExpires: true, expiration: '2030-01-01T00:00:00Z' }
    await expect(call('key.update', both)).rejects.toThrow(/one of/)
  })
})

describe('buckets', () => {
  it('are made, found and listed', async () => {
    const { id } = await newBucket('photos')
    expect(id).toMatch(/^[0-9a-f]{32}$/)
    const info = await call('bucket.info', { id })
    for (const query of [
      { globalAlias: 'photos' },
      { search: 'photos' },
      { search: id.slice(0, 10) },
      { search: id },
    ]) {
      expect(await call('bucket.info', query)).toEqual(info)
    }
    expect(await call('bucket.list', {})).toEqual([
      { id, created: info.created, globalAliases: ['photos'], localAliases: [] },
    ])
    await expect(call('bucket.create', { globalAlias: 'photos' })).rejects.toThrow(/taken/)
    await expect(call('bucket.create', { globalAlias: 'No' })).rejects.toThrow(/not a valid bucket name/)
    await expect(call('bucket.info', { search: 'x' })).rejects.toThrow(/carport bucket list/)
    await expect(call('bucket.info', { id: 'ab'.repeat(16) })).rejects.toThrow(/no bucket abab/)
  })

  it('with a name of one key alone', async () => {
    const { accessKeyId } = await call('key.create', { name: 'local' })
    const localAlias = { accessKeyId, alias: 'mine', allow: { read: true } }
    const bucket = await call('bucket.create', { localAlias })
    expect(bucket).toMatchObject({
      globalAliases: [],
      keys: [
        {
          ...{ accessKeyId, name: 'local', bucketLocalAliases: ['mine'] },
          permissions: { read: true, write: false, owner: false },
        },
      ],
    })
    await expect(call('bucket.create', { localAlias })).rejects.toThrow(/mine is taken/)
    const unknown = { ...localAlias, accessKeyId: 'GKnone' }
    await expect(call('bucket.create', { localAlias: unknown })).rejects.toThrow(/no access key GKnone/)
    expect((await call('key.info', { id: accessKeyId })).buckets).toEqual([
      {
        ...{ id: bucket.id, globalAliases: [], localAliases: ['mine'] },
        permissions: { read: true, write: false, owner: false },
      },
    ])
    await call('key.delete', { id: accessKeyId })
    expect((await call('bucket.info', { id: bucket.id })).keys).toEqual([])
    await call('bucket.delete', { id: bucket.id })
  })

  it('get further names and lose them, but not the last', async () => {
    const { id } = await newBucket('first')
    const { accessKeyId } = await call('key.create', {})
    await call('bucket.addAlias', { bucketId: id, globalAlias: 'second' })
    const local = { bucketId: id, accessKeyId, localAlias: 'third' }
    expect(await call('bucket.addAlias', local)).toMatchObject({
      globalAliases: ['first', 'second'],
      keys: [{ bucketLocalAliases: ['third'] }],
    })
    await expect(call('bucket.addAlias', { bucketId: id, globalAlias: 'photos' })).rejects.toThrow(/taken/)
    await expect(call('bucket.removeAlias', { bucketId: id, globalAlias: 'photos' })).rejects.toThrow(
      /not a name/,
    )
    await expect(call('bucket.removeAlias', { ...local, localAlias: 'no' })).rejects.toThrow(/does not call/)
    expect(await call('bucket.removeAlias', local)).toMatchObject({ keys: [] })
    expect(await call('bucket.removeAlias', { bucketId: id, globalAlias: 'first' })).toMatchObject({
      globalAliases: ['second'],
    })
    await expect(call('bucket.removeAlias', { bucketId: id, globalAlias: 'second' })).rejects.toThrow(
      /no other name/,
    )
    await expect(call('bucket.info', { globalAlias: 'first' })).rejects.toThrow(/no bucket/)
  })

  it('are opened to keys and closed again', async () => {
    const { id } = await newBucket('shared')
    const { accessKeyId } = await call('key.create', {})
    const change = (permissions: object) => ({ bucketId: id, accessKeyId, permissions })
    await call('bucket.allowKey', change({ read: true, write: true }))
    expect((await call('bucket.allowKey', change({ owner: true, read: false }))).keys).toMatchObject([
      { permissions: { read: true, write: true, owner: true } },
    ])
    expect((await call('bucket.denyKey', change({ write: true }))).keys).toMatchObject([
      { permissions: { read: true, write: false, owner: true } },
    ])
    expect((await call('bucket.denyKey', change({ read: true, owner: true }))).keys).toEqual([])
    await expect(call('bucket.allowKey', { ...change({}), accessKeyId: 'GKnone' })).rejects.toThrow(
      /no access key/,
    )
  })

  it('are web sites while they have a website document, and keep quotas', async () => {
    const { id, bucket } = await newBucket('site')
    const website = { enabled: true, indexDocument: 'index.html', errorDocument: 'oops.html' }
    const quotas = { maxSize: 1e9, maxObjects: null }
    expect(await call('bucket.update', { id, websiteAccess: website, quotas })).toMatchObject({
      websiteAccess: true,
      websiteConfig: { indexDocument: 'index.html', errorDocument: 'oops.html' },
      quotas,
    })
    expect(bucket().document('website')).toEqual({ indexDocument: 'index.html', errorDocument: 'oops.html' })
    expect(bucket().quotas).toEqual({ maxSize: 1e9 })
    const degraded = { enabled: true, indexDocument: 'a.html', consistencyMode: 'degraded' as const }
    await call('bucket.update', { id, websiteAccess: degraded })
    expect(bucket().document('website')).toEqual({ indexDocument: 'a.html', consistencyMode: 'degraded' })
    expect(await call('bucket.update', { id, websiteAccess: website })).toMatchObject({
      websiteConfig: { consistencyMode: 'degraded' },
    })
    await call('bucket.update', { id, websiteAccess: { ...website, consistencyMode: 'consistent' as const } })
    expect(bucket().document('website')).not.toHaveProperty('consistencyMode')
    const off = { websiteAccess: { enabled: false }, quotas: { maxSize: null, maxObjects: null } }
    expect(await call('bucket.update', { id, ...off })).toMatchObject({
      websiteAccess: false,
      websiteConfig: null,
      ...{ quotas: off.quotas },
    })
    await expect(call('bucket.update', { id, websiteAccess: { enabled: true } })).rejects.toThrow(
      /indexDocument/,
    )
    await expect(
      call('bucket.update', { id, websiteAccess: { ...website, enabled: false } }),
    ).rejects.toThrow(/only when it is enabled/)
  })

  it('tell what they hold, and are deleted only when it is nothing', async () => {
    const { id, bucket } = await newBucket('full')
    await cluster.putObject(bucket(), 'a', contentOf('a', 100))
    await cluster.startUpload(bucket(), 'big', [contentOf('p1', 30_000), contentOf('p2', 10)])
    expect(await call('bucket.info', { id })).toMatchObject({
      objects: 1,
      bytes: 100,
      unfinishedUploads: 1,
      unfinishedMultipartUploads: 1,
      unfinishedMultipartUploadParts: 2,
      unfinishedMultipartUploadBytes: 30_010,
    })
    await expect(call('bucket.delete', { id })).rejects.toThrow(/full is not empty/)
    await cluster.run(model().objects.delete(bucket().id, Buffer.from('a'), '', 'off'))
    await call('bucket.delete', { id })
    await expect(call('bucket.info', { id })).rejects.toThrow(/no bucket/)
    await expect(call('bucket.info', { globalAlias: 'full' })).rejects.toThrow(/no bucket/)
  })

  it('lose unfinished uploads that are older than told', async () => {
    const { id, bucket } = await newBucket('uploads')
    await cluster.startUpload(bucket(), 'old', [contentOf('old', 10)])
    await cluster.startUpload(bucket(), 'old', [])
    await cluster.clock.advance(3_600_000)
    await cluster.startUpload(bucket(), 'new', [contentOf('new', 10)])
    const args = { bucketId: id, olderThanSecs: 1800 }
    expect(await call('bucket.cleanupIncompleteUploads', args)).toEqual({ uploadsDeleted: 2 })
    expect(await call('bucket.cleanupIncompleteUploads', args)).toEqual({ uploadsDeleted: 0 })
    await cluster.clock.advance(1000)
    expect(await call('bucket.info', { id })).toMatchObject({
      unfinishedUploads: 1,
      unfinishedMultipartUploadParts: 1,
    })
  })

  it('show all versions of an object with their blocks', async () => {
    const { id, bucket } = await newBucket('versions')
    await cluster.run(model().buckets.setDocument(bucket(), 'versioning', 'enabled'))
    const small = await cluster.putObject(bucket(), 'x', contentOf('small', 10))
    const large = await cluster.putObject(bucket(), 'x', contentOf('large', BLOCK_BYTES + 500))
    await cluster.putObject(bucket(), 'xx', contentOf('another', 10))
    const upload = await cluster.startUpload(bucket(), 'x', [])
    const inspection = await call('bucket.inspectObject', { bucketId: id, key: 'x' })
    expect(inspection).toMatchObject({ bucketId: id, key: 'x' })
    expect(inspection.versions).toMatchObject([
      { uuid: upload.id.toString('hex'), uploading: true, size: null, blocks: [] },
      {
        uuid: large.id.toString('hex'),
        inline: false,
        size: BLOCK_BYTES + 500,
        etag: large.etag.toString('hex'),
        headers: [
          ['content-type', 'text/plain'],
          ['x-amz-meta-color', 'red'],
        ],
        blocks: [
          { partNumber: 1, offset: 0, hash: expect.stringMatching(/^[0-9a-f]{64}$/), size: BLOCK_BYTES },
          { partNumber: 1, offset: BLOCK_BYTES, size: 500 },
        ],
      },
      { uuid: small.id.toString('hex'), inline: true, size: 10, deleteMarker: false, blocks: [] },
    ])
    await expect(call('bucket.inspectObject', { bucketId: id, key: 'y' })).rejects.toThrow(/no object "y"/)
  })
})
