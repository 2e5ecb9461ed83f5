import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, PutBucketPolicyCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Log } from '../src/util/log.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const HOME = { 'X-Forwarded-For': '198.51.100.7', 'X-Forwarded-Proto': 'https' }

describe('a node behind a reverse proxy', () => {
  const dir = mkdtempSync(join(tmpdir(), 'carport-log-'))
  const file = join(dir, 'access.log')
  const warnings: { fields: Record<string, unknown>; message: string }[] = []
  const log: Log = {
    debug() {},
    info() {},
    warn: (fields, message) => void warnings.push({ fields: fields as Record<string, unknown>, message }),
    error() {},
    child: () => log,
  }
  let node: TestNode

  beforeAll(async () => {
    node = await startTestNode(
      { trustedProxies: ['127.0.0.1'], accessLog: { requests: 'all', file } },
      { log },
    )
    const s3 = node.client(await node.createKey('owner'))
    await s3.send(new CreateBucketCommand({ Bucket: 'site' }))
    await s3.send(new PutObjectCommand({ Bucket: 'site', Key: 'page', Body: 'hello' }))
    const allowed = {
      IpAddress: { 'aws:SourceIp': '198.51.100.0/24' },
      Bool: { 'aws:SecureTransport': 'true' },
    }
    const statement = {
      Effect: 'Allow',
      Principal: '*',
      Action: 's3:GetObject',
      Resource: 'arn:aws:s3:::site/*',
    }
    const Policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [{ ...statement, Condition: allowed }],
    })
    await s3.send(new PutBucketPolicyCommand({ Bucket: 'site', Policy }))
  })
  afterAll(async () => {
    await node.dispose()
    rmSync(dir, { recursive: true })
  })

  const get = (headers: Record<string, string> = {}) => fetch(`${node.endpoint}/site/page`, { headers })
  /** The lines of the log, once there are so many that pass the filter. */
  const lines = (path: string, count: number) =>
    expect
      .poll(() =>
        readFileSync(path, 'utf8')
          .split('\n')
          .filter((line) => line.includes('GetObject') || line.includes('SignatureDoesNotMatch'))
          .map((line) => JSON.parse(line) as Record<string, unknown>),
      )
      .toHaveLength(count)

  it('judges policies by the client that the proxy names, and writes it down', async () => {
    expect((await get(HOME)).status).toBe(200)
    expect((await get({ ...HOME, 'X-Forwarded-Proto': 'http' })).status).toBe(403)
    expect((await get()).status).toBe(403)
    expect(
      (await get({ 'X-Forwarded-For': '198.51.100.7, 192.0.2.1', 'X-Forwarded-Proto': 'https' })).status,
    ).toBe(403)
    await lines(file, 4)
    const first = readFileSync(file, 'utf8')
      .split('\n')
      .find((line) => line.includes('GetObject'))!
    expect(JSON.parse(first)).toMatchObject({
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      api: 's3',
      requestId: expect.any(String),
      source: '198.51.100.7',
      operation: 'GetObject',
      bucket: 'site',
      method: 'GET',
      path: '/site/page',
      status: 200,
      bytesSent: 5,
      durationMs: expect.any(Number),
    })
  })

  it('tells of a refused signature in its own log as well', async () => {
    const s3 = node.client({ ...(await node.createKey('liar')), secret: 'wrong' } as never)
    await expect(s3.send(new PutObjectCommand({ Bucket: 'site', Key: 'page', Body: '' }))).rejects.toThrow()
    expect(warnings.filter(({ message }) => message === 'a signature was refused')).toMatchObject([
      { fields: { code: 'SignatureDoesNotMatch', source: '127.0.0.1' } },
    ])
  })

  it('goes on in a new file after a rotation', async () => {
    await lines(file, 5)
    renameSync(file, `${file}.1`)
    node.reopenLogs()
    expect((await get(HOME)).status).toBe(200)
    await lines(file, 1)
  })
})
