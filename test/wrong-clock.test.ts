import {
  GetObjectCommand,
  HeadBucketCommand,
  PutObjectCommand,
  type S3ServiceException,
} from '@aws-sdk/client-s3'
import { afterEach, expect, test } from 'vitest'
import { realClock } from '../src/platform/clock-and-random.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const TWO_DAYS_MS = 2 * 24 * 3600_000

let node: TestNode
afterEach(() => node.dispose())

test('a node whose clock is off takes no writes, says why and when to come back, and reads on', async () => {
  let offMs = 0
  const clock = { ...realClock, nowMs: () => realClock.nowMs() + offMs }
  node = await startTestNode({}, { clock })
  const key = await node.createKey('k')
  const s3 = node.client(key)
  await node.core.model.buckets.create('bucket', { ownerKey: key.id })
  await s3.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'k', Body: 'v' }))
  const { peers } = node.core.parts.hlc
  for (const peer of ['one', 'two']) peers.note(peer, realClock.nowMs())
  offMs = TWO_DAYS_MS
  const refused = await s3
    .send(new PutObjectCommand({ Bucket: 'bucket', Key: 'k', Body: 'w' }))
    .catch((error: S3ServiceException) => error)
  expect(refused).toMatchObject({
    name: 'ServiceUnavailable',
    message: expect.stringMatching(/^the clock of this node is 172800 s ahead of those of the other nodes/),
    $metadata: { httpStatusCode: 503 },
    $response: { headers: { 'retry-after': '1' } },
  })
  // The client's time is the right one: its signature is not too old.
  const read = await s3.send(new GetObjectCommand({ Bucket: 'bucket', Key: 'k' }))
  expect(await read.Body!.transformToString()).toBe('v')
  await s3.send(new HeadBucketCommand({ Bucket: 'bucket' }))
  offMs = 0
  await s3.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'k', Body: 'w' }))
})
