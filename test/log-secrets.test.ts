/**
 * Drives a node with everything that it should not repeat: keys, tokens, signatures, master keys, in headers, queries, forms and
 * bodies, in requests that succeed and that fail. Its logs at their most talkative, and its request log, hold none of it.
 */
import { createHmac, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { realClock } from '../src/platform/clock-and-random.js'
import { createLog } from '../src/platform/logger.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const dir = mkdtempSync(join(tmpdir(), 'carport-log-'))
const file = join(dir, 'access.log')
const lines: string[] = []
const secrets = new Set<string>()
/** A secret that must not be in any line. */
const secret = (text: string) => {
  secrets.add(text)
  return text
}
const noise = () => secret(randomBytes(24).toString('hex'))

let node: TestNode

beforeAll(async () => {
  const adminToken = noise()
  const metricsToken = noise()
  secret('ab'.repeat(32))
  secret('cd'.repeat(32))
  node = await startTestNode(
    { accessLog: { requests: 'all', file }, secrets: { adminToken, metricsToken } },
    { log: createLog({ level: 'debug', format: 'json' }, realClock, (line) => lines.push(line)) },
  )
  await useS3()
  await useAdmin(adminToken, metricsToken)
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

async function useS3(): Promise<void> {
  const key = await node.createKey('owner')
  secret(key.secret)
  const s3 = node.client(key)
  const liar = node.client({ ...key, secret: noise() } as never)
  await s3.send(new CreateBucketCommand({ Bucket: 'secrets' }))
  const customerKey = secret(randomBytes(32).toString('base64'))
  const sse = { SSECustomerAlgorithm: 'AES256', SSECustomerKey: customerKey }
  const object = { Bucket: 'secrets', Key: 'kept' }
  await s3.send(new PutObjectCommand({ ...object, ...sse, Body: noise() }))
  await s3.send(new GetObjectCommand({ ...object, ...sse }))
  await expect(s3.send(new GetObjectCommand(object))).rejects.toThrow()
  await expect(liar.send(new PutObjectCommand({ ...object, Body: noise() }))).rejects.toThrow()
  for (const client of [s3, liar]) {
    const url = await getSignedUrl(client, new GetObjectCommand(object))
    secret(new URL(url).searchParams.get('X-Amz-Signature')!)
    await fetch(url)
  }
  const url = `${node.endpoint}/secrets/kept`
  await fetch(
    `${url}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Security-Token=${noise()}&X-Amz-Signature=${noise()}`,
  )
  await fetch(url, { headers: { authorization: `AWS ${key.id}:${noise()}`, cookie: noise() } })
  await fetch(url, { headers: { authorization: noise(), 'x-amz-security-token': noise() } })
  const form = new FormData()
  const signature = secret(createHmac('sha256', noise()).update('x').digest('hex'))
  for (const [name, value] of Object.entries({ key: 'x', policy: noise(), 'x-amz-signature': signature })) {
    form.set(name, value)
  }
  form.set('file', noise())
  await fetch(`${node.endpoint}/secrets`, { method: 'POST', body: form })
  await fetch(`${node.endpoint}/?Action=AssumeRoleWithWebIdentity&WebIdentityToken=${noise()}`, {
    method: 'POST',
  })
}

async function useAdmin(adminToken: string, metricsToken: string): Promise<void> {
  const ask = (path: string, token: string, body?: object | string) =>
    fetch(`http://${node.adminApi!.address}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${token}` },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
  await ask('/metrics', metricsToken)
  await ask('/v2/GetClusterStatus', noise())
  const imported = {
    accessKeyId: `GK${randomBytes(12).toString('hex')}`,
    secretAccessKey: secret('e'.repeat(64)),
  }
  expect((await ask('/v2/ImportKey', adminToken, imported)).status).toBe(200)
  await ask('/v2/ImportKey', adminToken, imported)
  await ask('/v2/ImportKey', adminToken, `{"secretAccessKey": "${noise()}", `)
  await ask('/v2/ImportKey', adminToken, { accessKeyId: 3, secretAccessKey: noise() })
  const made = (await (await ask('/v2/CreateAdminToken', adminToken, { name: 't' })).json()) as {
    secretToken: string
  }
  await ask(`/v2/GetCurrentAdminTokenInfo?token=${noise()}`, secret(made.secretToken))
  await ask(`/v2/GetKeyInfo?id=${imported.accessKeyId}&showSecretKey=true`, adminToken)
}

test('no line of the logs has a secret', async () => {
  await node.dispose()
  const access = readFileSync(file, 'utf8')
  const text = lines.join('') + access
  expect(access.split('\n').length).toBeGreaterThan(15)
  expect(text).toContain('a signature was refused')
  expect(secrets.size).toBeGreaterThan(20)
  for (const line of text.split('\n')) {
    for (const hidden of secrets) expect(line.includes(hidden), `${hidden} in ${line}`).toBe(false)
    expect(line).not.toMatch(/X-Amz-Signature|Bearer|AWS4-HMAC/i)
  }
})

test('lines of requests name the key and the source', () => {
  const of = (operation: string) =>
    readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((line) => line.operation === operation)
  expect(of('PutObject')[0]).toMatchObject({
    keyId: expect.stringMatching(/^GK/),
    source: '127.0.0.1',
    status: 200,
  })
  expect(of('ImportKey')[0]).toMatchObject({ api: 'admin', keyId: expect.any(String), source: '127.0.0.1' })
})
