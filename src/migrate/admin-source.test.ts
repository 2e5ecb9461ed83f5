import { describe, expect, test } from 'vitest'
import type { StreamCall } from '../api/client/stream-call.js'
import { AdminSource } from './admin-source.js'

const KEY = {
  name: 'app',
  accessKeyId: 'GK1',
  secretAccessKey: 's',
  permissions: { createBucket: true },
  buckets: [],
}
const BUCKET = {
  ...{ id: 'ab'.repeat(32), globalAliases: ['photos'], websiteAccess: false, websiteConfig: null },
  keys: [{ accessKeyId: 'GK1', name: 'app', permissions: { read: true }, bucketLocalAliases: ['mine'] }],
}

/** A Garage that knows one version of the admin API. */
function garage(paths: Record<string, unknown>, unknown = 400): { call: StreamCall; asked: string[] } {
  const asked: string[] = []
  const call: StreamCall = async ({ target, headers }) => {
    asked.push(target)
    const found = paths[target]
    const status = headers.authorization !== 'Bearer token' ? 403 : found ? 200 : unknown
    const body = (async function* () {
      yield Buffer.from(JSON.stringify(found ?? {}))
    })()
    return { status, headers: {}, body }
  }
  return { call, asked }
}

const noProgram = () => Promise.reject(new Error('no program is run'))
const at = { address: 'http://garage:3903/', token: 'token' }

describe('the admin API of Garage', () => {
  test.each(['v1', 'v0'])('in version %s is asked by its paths', async (version) => {
    const { call } = garage({
      [`/${version}/key?list`]: [{ id: 'GK1', name: 'app' }],
      [`/${version}/key?id=GK1&showSecretKey=true`]: KEY,
      [`/${version}/bucket?list`]: [{ id: BUCKET.id }],
      [`/${version}/bucket?id=${BUCKET.id}`]: BUCKET,
    })
    const source = new AdminSource(at, { call, execute: noProgram })
    expect(await source.keys()).toEqual([{ ...KEY, expiration: null, expired: false }])
    expect(await source.buckets()).toEqual([{ ...BUCKET, quotas: { maxSize: null, maxObjects: null } }])
    expect(source.tellsRules).toBe(false)
  })

  test('in version 2 is asked by that alone', async () => {
    const { call, asked } = garage({ '/v2/ListKeys?': [] })
    const source = new AdminSource(at, { call, execute: noProgram })
    expect([await source.keys(), source.tellsRules]).toEqual([[], true])
    expect(asked).toEqual(['/v2/ListKeys?'])
  })

  test('that refuses the token says so, and no other version is tried', async () => {
    const { call, asked } = garage({})
    const source = new AdminSource({ ...at, token: 'wrong' }, { call, execute: noProgram })
    await expect(source.keys()).rejects.toThrow(/is its token right/)
    expect(asked).toHaveLength(1)
  })

  test('by the command line is asked in JSON', async () => {
    const ran: (readonly string[])[] = []
    const execute = async (program: string, args: readonly string[]) => {
      ran.push([program, ...args])
      return JSON.stringify(args.includes('ListKeys') ? [{ id: 'GK1' }] : KEY)
    }
    const { call } = garage({})
    const source = new AdminSource({ command: ['garage', '-c', '/etc/garage.toml'] }, { call, execute })
    expect(await source.keys()).toEqual([{ ...KEY, expiration: null, expired: false }])
    const garageWords = ['garage', '-c', '/etc/garage.toml', 'json-api']
    expect(ran).toEqual([
      [...garageWords, 'ListKeys', '{}'],
      [...garageWords, 'GetKeyInfo', '{"id":"GK1","showSecretKey":true}'],
    ])
    const broken = new AdminSource({ command: ['garage'] }, { call, execute: noProgram })
    await expect(broken.keys()).rejects.toThrow(/garage json-api ListKeys: no program is run/)
  })
})
