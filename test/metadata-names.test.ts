import { CreateBucketCommand } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { realClock } from '../src/platform/clock-and-random.js'
import { exchange, type FuzzRequest, wireBytes } from './support/fuzz-client.js'
import { formRequest } from './support/fuzz-forms.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'metadata'
/** Names that no header can have, or that the database does not keep. */
const NAMES = ['a b', 'a:b', 'a\r\nx-injected', 'é', '(', '__proto__']

let node: TestNode
let key: AccessKey

beforeAll(async () => {
  node = await startTestNode()
  key = await node.createKey('metadata')
  await node.client(key).send(new CreateBucketCommand({ Bucket }))
})

afterAll(() => node?.dispose())

const signer = () => ({ keyId: key.id, secret: key.secret })

async function send(request: FuzzRequest) {
  const { port } = node.s3!
  const bytes = wireBytes(request, `127.0.0.1:${port}`, signer(), realClock.nowMs())
  const { status, body, headers } = await exchange(port, bytes, request.method, {
    ...{ leaves: false, deadlineMs: 10_000 },
  })
  return { status, code: /<Code>(\w+)/.exec(body)?.[1], headers }
}

const presigned = (method: string, names: readonly string[], target = 'a'): FuzzRequest => ({
  ...{ method, target: `/${Bucket}/${target}`, body: '', auth: 'presigned', length: 'right' },
  headers: names.map((name) => [`x-amz-meta-${Buffer.from(name).toString('latin1')}`, 'value']),
})

test.each(NAMES)('a presigned URL with metadata called %j is refused', async (name) => {
  const refused = { status: 400, code: 'InvalidArgument' }
  expect(await send(presigned('PUT', [name]))).toMatchObject(refused)
  expect(await send(presigned('POST', [name], 'a?uploads'))).toMatchObject(refused)
  expect(await send(presigned('GET', []))).toMatchObject({ status: 404, code: 'NoSuchKey' })
})

test.each(NAMES)('a form with metadata called %j is refused', async (name) => {
  const form = formRequest(
    {
      ...{ bucket: Bucket, policy: undefined, allowed: true, signature: 'right' },
      ...{ file: 'x', fileName: 'f', damage: 'none', at: 0 },
      fields: [[`x-amz-meta-${name}`, 'value']],
    },
    signer(),
    realClock.nowMs(),
  )
  const { status } = await send(form)
  // A form cannot carry a line end in the name of a field.
  expect(status).toBeGreaterThanOrEqual(400)
  expect(await send(presigned('GET', []))).toMatchObject({ status: 404, code: 'NoSuchKey' })
})

test('other odd names come back', async () => {
  const names = ['constructor', 'a.b', "it's", '0', '']
  expect(await send(presigned('PUT', names, 'odd'))).toMatchObject({ status: 200 })
  const { headers } = await send(presigned('GET', [], 'odd'))
  for (const name of names) expect(headers.get(`x-amz-meta-${name}`)).toBe('value')
})
