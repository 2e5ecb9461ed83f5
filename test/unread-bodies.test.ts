/**
 * No byte of a body is read for a caller who is not allowed what it asks for: a request with a body that never comes is
 * answered at once. Each operation that has one is tried.
 */
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { S3Context } from '../src/api/s3/context.js'
import { s3Handlers } from '../src/api/s3/handlers.js'
import { BUCKET_OPERATIONS, OBJECT_OPERATIONS, type S3Operation } from '../src/api/s3/operations.js'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { RawClient } from '../testing/s3-front.js'
import { signedHead } from './support/signed-head.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const BUCKET = 'private'
const UPLOAD_ID = '0'.repeat(32)
const FORM = { 'content-type': 'multipart/form-data; boundary=b' }

interface Case {
  operation: S3Operation
  method: string
  path: string
  headers: Record<string, string>
}

const handlers = s3Handlers({} as S3Context)

function cases(table: typeof BUCKET_OPERATIONS | typeof OBJECT_OPERATIONS, key: string): Case[] {
  return (['PUT', 'POST'] as const).flatMap((method) =>
    Object.entries(table[method] as Record<string, S3Operation>).map(([name, operation]) => {
      const query = name === 'uploadId' ? `uploadId=${UPLOAD_ID}` : name
      const part = method === 'PUT' && name === 'uploadId' ? '&partNumber=1' : ''
      return {
        operation,
        method,
        path: `${key}${query === '' ? '' : `?${query}${part}`}`,
        headers: operation === 'PostObject' ? FORM : {},
      }
    }),
  )
}

const all = [...cases(BUCKET_OPERATIONS, ''), ...cases(OBJECT_OPERATIONS, '/key')].filter(
  ({ operation }) => handlers[operation] !== 'NotImplemented',
)

let node: TestNode
let stranger: AccessKey

beforeAll(async () => {
  node = await startTestNode()
  const { model } = node.core
  stranger = await model.keys.create('stranger')
  const bucket = await model.buckets.create(BUCKET)
  // Policies that ask for what is in a body, and allow it to somebody else.
  await model.buckets.setDocument(bucket, 'policy', {
    bucket: BUCKET,
    text: JSON.stringify({
      Version: '2012-10-17',
      Statement: Object.entries({
        's3:RequestObjectTag/a': ['s3:PutObjectTagging', 's3:DeleteObject'],
        's3:object-lock-mode': 's3:PutObjectRetention',
        's3:object-lock-legal-hold': 's3:PutObjectLegalHold',
      }).map(([name, Action]) => ({
        Effect: 'Allow',
        Principal: { AWS: 'arn:aws:iam:::user/GKsomebody' },
        Action,
        Resource: `arn:aws:s3:::${BUCKET}/*`,
        Condition: { StringEquals: { [name]: 'b' } },
      })),
    }),
  })
})

afterAll(() => node?.dispose())

async function answerTo(head: string): Promise<string> {
  const client = new RawClient(node.s3!.port)
  await once(client.socket, 'connect')
  try {
    return await client.send(head).untilText('</Error>')
  } finally {
    client.socket.destroy()
  }
}

const length = { 'content-length': '1000' }
const unsigned = ({ method, headers }: Case, target: string) => {
  const lines = Object.entries({ host: 'localhost', ...length, ...headers }).map(([k, v]) => `${k}: ${v}\r\n`)
  return `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`
}
const signed = ({ method, headers }: Case, target: string) =>
  signedHead({ key: stranger, port: node.s3!.port, nowMs: Date.now() }, method, target, {
    ...length,
    ...headers,
  })

test('the tables have the operations with bodies', () => {
  expect(all.map(({ operation }) => operation)).toEqual(
    expect.arrayContaining(['CompleteMultipartUpload', 'DeleteObjects', 'PutObjectTagging', 'CreateBucket']),
  )
  expect(all.length).toBeGreaterThan(25)
})

describe.each(all)('$operation', { timeout: 15_000 }, (request) => {
  // A form is signed by its own fields: the bucket alone can be looked up before they are read.
  const readsFields = request.operation === 'PostObject'

  test.skipIf(readsFields)('of nobody', async () => {
    expect(await answerTo(unsigned(request, `/${BUCKET}${request.path}`))).toMatch(/^HTTP\/1.1 403 /)
  })

  test('of nobody, in a bucket that is not there', async () => {
    const answer = await answerTo(unsigned(request, `/missing${request.path}`))
    expect(answer).toMatch(request.operation === 'CreateBucket' ? /^HTTP\/1.1 403 / : /^HTTP\/1.1 404 /)
  })

  test.skipIf(readsFields)('of a key without permissions', async () => {
    const answer = await answerTo(signed(request, `/${BUCKET}${request.path}`))
    // That the name is taken is the answer whatever the body says.
    expect(answer).toMatch(request.operation === 'CreateBucket' ? /^HTTP\/1.1 409 / : /^HTTP\/1.1 403 /)
  })

  test.skipIf(readsFields)('of a key without permissions, in a bucket that is not there', async () => {
    const answer = await answerTo(signed(request, `/missing${request.path}`))
    expect(answer).toMatch(request.operation === 'CreateBucket' ? /^HTTP\/1.1 403 / : /^HTTP\/1.1 404 /)
  })
})
