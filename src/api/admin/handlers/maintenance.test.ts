import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AdminCluster, BLOCK_BYTES, contentOf } from '../../../../testing/admin-nodes.js'
import { type OperationArgs, operationSchemas } from '../operation-schemas.js'

// One node that stores one copy.

const cluster = new AdminCluster(1)
const MAINTENANCE = /^(worker|block|repair|meta)\./

beforeAll(async () => {
  await cluster.start()
  await cluster.layOut()
})
afterAll(async () => {
  await cluster.stop()
  const names = Object.keys(operationSchemas).filter((name) => MAINTENANCE.test(name))
  expect([...cluster.called].sort()).toEqual(expect.arrayContaining(names))
})

const node = () => cluster.nodes[0]!
const model = () => node().core.model
const newBucket = (name: string) => cluster.newBucket(name)

const call: typeof cluster.call = (operation, args) => cluster.call(operation, args)
const onSelf: typeof cluster.onSelf = (response) => cluster.onSelf(response)

describe('workers and variables', () => {
  it('lists background services, by number too', async () => {
    const workers = await onSelf(call('worker.list', { node: 'self' }))
    expect(workers.map(({ id }) => id)).toEqual(workers.map((_, i) => i + 1))
    expect(workers.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        'Anti-entropy of tables',
        'Block resync #1',
        'Block scrub',
        'Block references',
      ]),
    )
    expect(await onSelf(call('worker.info', { node: 'self', id: 2 }))).toEqual(workers[1])
    await expect(onSelf(call('worker.info', { node: 'self', id: 99 }))).rejects.toThrow(/no worker 99/)
    expect(await onSelf(call('worker.list', { node: 'self', errorOnly: true }))).toEqual([])
  })

  it('sets variables for good', async () => {
    const set = (variable: string, value: string) =>
      onSelf(call('worker.setVariable', { node: 'self', variable, value }))
    expect(await set('resync-worker-count', '3')).toEqual({ variable: 'resync-worker-count', value: '3' })
    await set('resync-tranquility', '0.5')
    await set('scrub-tranquility', '7')
    await expect(set('resync-worker-count', '9')).rejects.toThrow(/1 to 8/)
    await expect(set('resync-tranquility', 'fast')).rejects.toThrow(/not a number/)
    await expect(set('scrub-last-completed', '1')).rejects.toThrow(/only be read/)
    await expect(set('toString', '1')).rejects.toThrow(/no variable "toString", there are: resync-/)
    await cluster.restart(0)
    const get = (variable?: string) =>
      onSelf(call('worker.getVariable', { node: 'self', variable: variable ?? null }))
    expect(await get()).toEqual({
      'resync-tranquility': '0.5',
      'resync-worker-count': '3',
      'scrub-tranquility': '7',
      'scrub-last-completed': 'never',
      'scrub-next-run': expect.stringMatching(/^20\d\d-/),
      'scrub-corruptions_detected': '0',
    })
    expect(await get('scrub-tranquility')).toEqual({ 'scrub-tranquility': '7' })
  })
})

describe('blocks', () => {
  it('info tells what refers to a block', async () => {
    const { bucket, id } = await newBucket('blocks')
    const version = await cluster.putObject(bucket(), 'a', contentOf('block-a', BLOCK_BYTES))
    const upload = await cluster.startUpload(bucket(), 'b', [contentOf('block-b', BLOCK_BYTES)])
    await cluster.clock.advance(5000)
    const inspection = await call('bucket.inspectObject', { bucketId: id, key: 'a' })
    const { hash } = inspection.versions[0]!.blocks[0]!
    const expected = {
      blockHash: hash,
      refcount: 1,
      versions: [
        {
          versionId: version.id.toString('hex'),
          ...{ refDeleted: false, versionDeleted: false, garbageCollected: false },
          backlink: { object: { bucketId: id, key: 'a' } },
        },
      ],
    }
    expect(await onSelf(call('block.info', { node: 'self', blockHash: hash }))).toEqual(expected)
    expect(await onSelf(call('block.info', { node: 'self', blockHash: hash.slice(0, 7) }))).toEqual(expected)
    const partHash = (
      await cluster.run(model().uploads.gather(await cluster.run(model().uploads.parts(upload))))
    )[0]!.hash
    const part = await onSelf(call('block.info', { node: 'self', blockHash: partHash.toString('hex') }))
    expect(part.versions[0]?.backlink).toEqual({
      upload: {
        uploadId: upload.id.toString('hex'),
        ...{ uploadDeleted: false, uploadGarbageCollected: false },
        ...{ bucketId: id, key: 'b' },
      },
    })
    await expect(onSelf(call('block.info', { node: 'self', blockHash: '00000000' }))).rejects.toThrow(
      /knows no block/,
    )
    await expect(onSelf(call('block.info', { node: 'self', blockHash: 'ff'.repeat(32) }))).rejects.toThrow(
      /knows no/,
    )
  })

  it('that are lost are not looked for once the queue is cleared, until a repair queues them again', async () => {
    const { bucket, id } = await newBucket('cleared')
    await cluster.putObject(bucket(), 'gone', contentOf('gone', BLOCK_BYTES))
    await cluster.putObject(bucket(), 'deleted', contentOf('deleted', BLOCK_BYTES))
    await cluster.clock.advance(5000)
    const { versions } = await call('bucket.inspectObject', { bucketId: id, key: 'gone' })
    const { hash } = versions[0]!.blocks[0]!
    const { versions: others } = await call('bucket.inspectObject', { bucketId: id, key: 'deleted' })
    const deletedHash = others[0]!.blocks[0]!.hash
    for (const path of [...node().disk.files.keys()]) if (path.includes(hash)) node().disk.files.delete(path)
    await cluster.run(model().objects.delete(bucket().id, Buffer.from('deleted'), '', 'off'))
    await onSelf(call('repair.launch', { node: 'self', repairType: 'blocks' }))
    await cluster.clock.advance(10_000)
    const lost = () => onSelf(call('block.listErrors', { node: 'self' }))
    expect(await lost()).toMatchObject([{ blockHash: hash }])
    await onSelf(call('repair.launch', { node: 'self', repairType: 'clearResyncQueue' }))
    await cluster.clock.advance(3_600_000)
    expect(await lost()).toEqual([])
    // A block that nothing refers to is deleted all the same: its place in the queue stayed.
    expect([...node().disk.files.keys()].filter((path) => path.includes(deletedHash))).toEqual([])
    await onSelf(call('repair.launch', { node: 'self', repairType: 'blocks' }))
    await cluster.clock.advance(10_000)
    expect(await lost()).toMatchObject([{ blockHash: hash }])
    await onSelf(call('block.purge', { node: 'self', blockHashes: [hash] }))
    await cluster.clock.advance(3_600_000)
  })

  it('that are lost are listed, tried again, and purged with what needs them', async () => {
    const { bucket, id } = await newBucket('losses')
    await cluster.run(model().buckets.setDocument(bucket(), 'versioning', 'enabled'))
    const content = contentOf('lost', BLOCK_BYTES)
    await cluster.putObject(bucket(), 'kept', contentOf('kept', BLOCK_BYTES))
    await cluster.putObject(bucket(), 'old', content)
    await cluster.putObject(bucket(), 'old', contentOf('newer', 10))
    await cluster.putObject(bucket(), 'current', content)
    await cluster.startUpload(bucket(), 'upload', [content])
    await cluster.clock.advance(5000)
    const { versions } = await call('bucket.inspectObject', { bucketId: id, key: 'current' })
    const { hash } = versions[0]!.blocks[0]!
    await expect(onSelf(call('block.purge', { node: 'self', blockHashes: [hash] }))).rejects.toThrow(
      /is not lost/,
    )

    for (const path of [...node().disk.files.keys()]) if (path.includes(hash)) node().disk.files.delete(path)
    await onSelf(call('repair.launch', { node: 'self', repairType: 'blocks' }))
    await cluster.clock.advance(10_000)
    const errors = await onSelf(call('block.listErrors', { node: 'self' }))
    expect(errors).toEqual([
      {
        ...{ blockHash: hash, refcount: 3, errorCount: expect.any(Number) },
        ...{ lastTrySecsAgo: expect.any(Number), nextTryInSecs: expect.any(Number) },
      },
    ])
    expect(errors[0]!.nextTryInSecs).toBeGreaterThan(10)
    expect(await onSelf(call('block.retryResync', { node: 'self', all: true }))).toEqual({ count: 1 })
    await cluster.clock.advance(5000)
    const [again] = await onSelf(call('block.listErrors', { node: 'self' }))
    expect(again!.errorCount).toBe(errors[0]!.errorCount + 1)
    const retried = call('block.retryResync', { node: 'self', blockHashes: [hash.slice(0, 8)] })
    expect(await onSelf(retried)).toEqual({ count: 1 })
    const [resync] = (await onSelf(call('worker.list', { node: 'self', errorOnly: true }))).filter((w) =>
      w.name.startsWith('Block resync'),
    )
    expect(resync).toMatchObject({
      persistentErrors: 1,
      lastError: { message: expect.stringContaining('has it not') },
    })
    await cluster.clock.advance(10_000)
    expect((await call('status', {})).nodes[0]!.syncQueueLength).toBe(1)

    expect(
      await onSelf(call('block.purge', { node: 'self', blockHashes: [hash, hash.slice(0, 10)] })),
    ).toEqual({
      blocksPurged: 1,
      blockRefsPurged: 3,
      versionsDeleted: 2,
      objectsDeleted: 1,
      uploadsDeleted: 1,
    })
    await expect(call('bucket.inspectObject', { bucketId: id, key: 'current' })).rejects.toThrow(/no object/)
    expect((await call('bucket.inspectObject', { bucketId: id, key: 'old' })).versions).toMatchObject([
      { size: 10 },
    ])
    expect((await call('bucket.inspectObject', { bucketId: id, key: 'kept' })).versions).toHaveLength(1)
    await cluster.clock.advance(3_600_000)
    expect(await onSelf(call('block.listErrors', { node: 'self' }))).toEqual([])
  })
})

describe('repairs', () => {
  const launch = (repairType: OperationArgs<'repair.launch'>['repairType']) =>
    onSelf(call('repair.launch', { node: 'self', repairType }))
  const worker = async (name: string) =>
    (await onSelf(call('worker.list', { node: 'self' }))).find((info) => info.name === name)

  it.each([
    'tables',
    'blocks',
    'multipartUploads',
    'blockRefs',
    'blockRc',
    'rebalance',
    'aliases',
    'clearResyncQueue',
  ] as const)('%s runs to its end', async (type) => {
    expect(await launch(type)).toBe(null)
    await cluster.clock.advance(20_000)
    expect(await worker(`Repair: ${type}`)).toMatchObject({ state: 'done', errors: 0, progress: '100.0%' })
  })

  it('runs one of a kind at a time', async () => {
    await launch('blockRc')
    await expect(launch('blockRc')).rejects.toThrow(/running already/)
    await cluster.clock.advance(20_000)
    await launch('blockRc')
    await cluster.clock.advance(20_000)
  })

  it('of versions says why there is none', async () => {
    await expect(launch('versions')).rejects.toThrow(/nothing to repair in versions/)
  })

  it('blockRefs brings back references that are gone', async () => {
    const { bucket, id } = await newBucket('references')
    await cluster.putObject(bucket(), 'a', contentOf('ref', BLOCK_BYTES))
    await cluster.clock.advance(5000)
    const { hash } = (await call('bucket.inspectObject', { bucketId: id, key: 'a' })).versions[0]!.blocks[0]!
    const bytes = Buffer.from(hash, 'hex')
    const { db, core } = node()
    const { local } = core.blockRefs
    const { rowKey } = [...local.heads(db, bytes, {})][0]!
    const refcount = async () =>
      (await onSelf(call('block.info', { node: 'self', blockHash: hash }))).refcount
    await launch('blockRefs')
    await cluster.clock.advance(10_000)
    expect(await refcount()).toBe(1)
    await cluster.run(db.transact((tx) => local.drop(tx, rowKey, local.rowHash(tx, rowKey)!)))
    expect(await refcount()).toBe(0)
    await launch('blockRefs')
    await cluster.clock.advance(10_000)
    expect(await refcount()).toBe(1)
  })

  it('multipartUploads deletes parts that came after the end of their upload', async () => {
    const { bucket, id } = await newBucket('strays')
    const upload = await cluster.startUpload(bucket(), 'big', [contentOf('in-time', 10)])
    const running = await cluster.startUpload(bucket(), 'running', [contentOf('stays', 10)])
    await cluster.run(model().uploads.end(upload))
    await cluster.clock.advance(1000)
    const stored = await cluster.run(
      model().blobs.write({
        length: 4,
        readAll: async () => Buffer.from('late'),
        async *stream() {
          yield Buffer.from('late')
        },
      }),
    )
    await cluster.run(model().uploads.putPart(upload, { number: 2, etag: stored.md5 }, stored))
    expect(await call('bucket.info', { id })).toMatchObject({
      unfinishedUploads: 1,
      unfinishedMultipartUploadParts: 2,
    })
    await launch('multipartUploads')
    await cluster.clock.advance(1000)
    expect(await call('bucket.info', { id })).toMatchObject({ unfinishedMultipartUploadParts: 1 })
    expect(await cluster.run(model().uploads.parts(running))).toHaveLength(1)
  })

  it('aliases makes names and buckets agree', async () => {
    const { bucket } = await newBucket('half')
    const other = await newBucket('other-half')
    const { accessKeyId } = await call('key.create', {})
    // What crashes between the writes of a change leave.
    await cluster.run(model().buckets.change(bucket(), { 'alias:lost-name': true, 'alias:other-half': true }))
    await cluster.run(model().buckets.change(bucket(), { [`local:${accessKeyId}/gone`]: true }))
    await cluster.run(
      model().keys.change(accessKeyId, { 'alias:mine': other.id, 'alias:dangling': 'ab'.repeat(16) }),
    )
    await launch('aliases')
    await cluster.clock.advance(1000)
    expect(bucket().aliases).toEqual(['half', 'lost-name'])
    expect(bucket().localAliases).toEqual([])
    expect(other.bucket().localAliases).toEqual([{ keyId: accessKeyId, alias: 'mine' }])
    expect([...model().keys.local(accessKeyId)!.localAliases.keys()]).toEqual(['mine'])
    expect(model().buckets.localByName('lost-name', undefined)!.hexId).toBe(bucket().hexId)
    expect(await worker('Repair: aliases')).toMatchObject({ freeform: ['0 checked, 5 changed'] })
  })

  it('scrub is started, paused, resumed and cancelled', async () => {
    await expect(launch({ scrub: 'cancel' })).rejects.toThrow(/no scrub is running/)
    const { disk } = node()
    const list = disk.list.bind(disk)
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    disk.list = async (folder) => {
      await held
      return list(folder)
    }
    await launch({ scrub: 'start' })
    expect(await worker('Block scrub')).toMatchObject({
      state: 'busy',
      progress: expect.stringMatching(/^\d+\.\d%$/),
    })
    await launch({ scrub: 'pause' })
    expect(await worker('Block scrub')).toMatchObject({
      state: 'idle',
      freeform: expect.arrayContaining([expect.stringMatching(/paused until/)]),
    })
    await launch({ scrub: 'resume' })
    expect(await worker('Block scrub')).toMatchObject({ state: 'busy' })
    await launch({ scrub: 'cancel' })
    expect(await worker('Block scrub')).toMatchObject({ state: 'idle', progress: null })
    release()
    await launch({ scrub: 'start' })
    await cluster.clock.advance(1000)
    const variable = 'scrub-last-completed'
    const { [variable]: completed } = await onSelf(call('worker.getVariable', { node: 'self', variable }))
    expect(completed).toMatch(/^20\d\d-/)
  })
})

describe('metadata', () => {
  it('is copied', async () => {
    expect(await onSelf(call('meta.snapshot', { node: 'self' }))).toBe(null)
    expect(node().snapshots).toHaveLength(1)
  })
})
