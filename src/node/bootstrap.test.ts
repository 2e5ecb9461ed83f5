import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AdminCluster } from '../../testing/admin-nodes.js'
import { bootstrapSingleNode } from './bootstrap.js'

let cluster: AdminCluster

beforeEach(async () => {
  cluster = new AdminCluster(1)
  await cluster.start()
})
afterEach(() => cluster.stop())

const boot = (env: Record<string, string> = {}, defaultBucket = true, defaultAccessKey = false) =>
  cluster.run(bootstrapSingleNode(cluster.nodes[0]!.core, { defaultAccessKey, defaultBucket, env }))
const info = (globalAlias: string) => cluster.call('bucket.info', { globalAlias })

describe('a single node at its start', () => {
  it('gets a layout as large as its disk, and nothing else unless asked', async () => {
    expect(await boot({}, false)).toBeUndefined()
    const { version, roles } = await cluster.call('layout.get', {})
    expect(version).toBe(1)
    expect(roles).toMatchObject([
      { id: cluster.nodes[0]!.id, zone: 'dc1', capacity: 1000e9, storedPartitions: 256 },
    ])
    expect(await cluster.call('key.list', {})).toEqual([])
    expect(await cluster.call('bucket.list', {})).toEqual([])
  })

  it('leaves a layout that is there as it is', async () => {
    await cluster.layOut()
    await boot()
    expect(await cluster.call('layout.get', {})).toMatchObject({ version: 1, roles: [{ zone: 'z0' }] })
  })

  it('makes a random key and a bucket, the same at every start', async () => {
    const made = await boot()
    expect(made).toEqual({
      accessKeyId: expect.stringMatching(/^GK[0-9a-f]{24}$/),
      secretAccessKey: expect.stringMatching(/^[0-9a-f]{64}$/),
      bucket: 'default-bucket',
    })
    expect(await info('default-bucket')).toMatchObject({
      keys: [{ accessKeyId: made!.accessKeyId, permissions: { read: true, write: true, owner: true } }],
    })
    await cluster.restart(0)
    // The secret is shown by the start that makes it, and not again.
    expect(await boot()).toEqual({ ...made, secretAccessKey: undefined })
    expect(await cluster.call('key.info', { id: made!.accessKeyId })).toMatchObject({
      permissions: { createBucket: true },
    })
    expect(await cluster.call('bucket.list', {})).toHaveLength(1)
  })

  it('takes key, secret and bucket of the environment, and follows when they change', async () => {
    const env = {
      CARPORT_DEFAULT_ACCESS_KEY: 'GKmine',
      CARPORT_DEFAULT_SECRET_KEY: 'secret-one',
      GARAGE_DEFAULT_BUCKET: 'mine',
    }
    expect(await boot(env)).toEqual({ accessKeyId: 'GKmine', secretAccessKey: 'secret-one', bucket: 'mine' })
    const changed = { ...env, CARPORT_DEFAULT_SECRET_KEY: 'secret-two', CARPORT_DEFAULT_BUCKET: 'mine-too' }
    expect(await boot(changed)).toEqual({
      accessKeyId: 'GKmine',
      secretAccessKey: undefined,
      bucket: 'mine-too',
    })
    expect((await cluster.call('key.info', { id: 'GKmine', showSecretKey: true })).secretAccessKey).toBe(
      'secret-two',
    )
    expect(await cluster.call('bucket.list', {})).toHaveLength(2)
    expect(await boot()).toMatchObject({ accessKeyId: 'GKmine', bucket: 'default-bucket' })
  })

  it('makes a key without a bucket where a key alone is asked for', async () => {
    const made = await boot({ CARPORT_DEFAULT_BUCKET: 'not-asked-for' }, false, true)
    expect(made).toEqual({
      accessKeyId: expect.stringMatching(/^GK[0-9a-f]{24}$/),
      secretAccessKey: expect.stringMatching(/^[0-9a-f]{64}$/),
      bucket: undefined,
    })
    expect(await cluster.call('bucket.list', {})).toEqual([])
    expect(await boot({}, true, true)).toMatchObject({
      ...made,
      secretAccessKey: undefined,
      bucket: 'default-bucket',
    })
  })

  it('gives back what was taken from the key since', async () => {
    const made = await boot()
    const { id } = await info('default-bucket')
    const { accessKeyId } = made!
    await cluster.call('bucket.denyKey', { bucketId: id, accessKeyId, permissions: { write: true } })
    await cluster.call('key.update', { id: accessKeyId, deny: { createBucket: true } })
    expect(await boot()).toEqual({ ...made, secretAccessKey: undefined })
    expect((await info('default-bucket')).keys[0]!.permissions).toEqual({
      read: true,
      write: true,
      owner: true,
    })
    expect((await cluster.call('key.info', { id: accessKeyId })).permissions.createBucket).toBe(true)
  })

  it('refuses a cluster of several nodes, before and after they are laid out', async () => {
    const two = new AdminCluster(2)
    await two.start()
    const alone = () =>
      two.run(
        bootstrapSingleNode(two.nodes[0]!.core, { defaultAccessKey: false, defaultBucket: false, env: {} }),
      )
    await expect(alone()).rejects.toMatchObject({ code: 'Conflict' })
    expect(await two.call('layout.get', {})).toMatchObject({ version: 0 })
    await two.layOut()
    await expect(alone()).rejects.toThrow(/has other nodes: start this one without --single-node/)
    await two.stop()
  })

  it.each([
    [
      { CARPORT_DEFAULT_ACCESS_KEY: 'GKmine' },
      /CARPORT_DEFAULT_ACCESS_KEY is set without CARPORT_DEFAULT_SECRET_KEY/,
    ],
    [
      { GARAGE_DEFAULT_SECRET_KEY: 'secret-one' },
      /GARAGE_DEFAULT_SECRET_KEY is set without CARPORT_DEFAULT_ACCESS_KEY/,
    ],
    [{ CARPORT_DEFAULT_BUCKET: 'No!' }, /CARPORT_DEFAULT_BUCKET: "No!" is not a valid bucket name/],
    [{ CARPORT_DEFAULT_ACCESS_KEY: 'a/b', CARPORT_DEFAULT_SECRET_KEY: 'secret-one' }, /key id/],
  ])('refuses %j', async (env, message) => {
    await expect(boot(env)).rejects.toThrow(message)
  })
})
