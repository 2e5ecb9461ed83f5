import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Bucket } from '../../../model/buckets/buckets.js'
import type { EncryptionDocument } from '../../../model/buckets/documents.js'
import { MasterKeys } from '../../../model/content/ciphers.js'
import type { S3Request } from '../request.js'
import { customerKey, requestedEncryption } from './requests.js'

const PREFIX = 'x-amz-server-side-encryption-customer-'
const key = randomBytes(32)
const RIGHT = {
  [`${PREFIX}algorithm`]: 'AES256',
  [`${PREFIX}key`]: key.toString('base64'),
  [`${PREFIX}key-md5`]: createHash('md5').update(key).digest('base64'),
}

function request(headers: Record<string, string | undefined>): S3Request {
  return { header: (name: string) => headers[name] } as S3Request
}

function bucket(encryption?: EncryptionDocument): Bucket {
  return { document: (name: string) => (name === 'encryption' ? encryption : undefined) } as Bucket
}

describe("the client's key", () => {
  test('is taken when all three headers fit', () => {
    expect(customerKey(request({}))).toBeUndefined()
    expect(customerKey(request(RIGHT))?.key.equals(key)).toBe(true)
    expect(customerKey(request(RIGHT), 'source')).toBeUndefined()
  })

  test.each([
    [{ [`${PREFIX}algorithm`]: undefined }, 'InvalidArgument'],
    [{ [`${PREFIX}algorithm`]: 'aes256' }, 'InvalidEncryptionAlgorithmError'],
    [{ [`${PREFIX}key`]: undefined }, 'InvalidArgument'],
    [{ [`${PREFIX}key`]: key.toString('base64url') }, 'InvalidArgument'],
    [{ [`${PREFIX}key`]: randomBytes(31).toString('base64') }, 'InvalidArgument'],
    [{ [`${PREFIX}key`]: randomBytes(32).toString('base64') }, 'InvalidArgument'],
    [{ [`${PREFIX}key-md5`]: undefined }, 'InvalidArgument'],
    [{ [`${PREFIX}key-md5`]: 'AAAAAAAAAAAAAAAAAAAAAA==' }, 'InvalidArgument'],
  ])('with %j is refused with %s', (change, code) => {
    expect(() => customerKey(request({ ...RIGHT, ...change }))).toThrow(expect.objectContaining({ code }))
  })
})

describe('what a write asks for', () => {
  const ALGORITHM = 'x-amz-server-side-encryption'
  const requested = (headers: Record<string, string>, document?: EncryptionDocument) =>
    requestedEncryption({ masterKeys: new MasterKeys([]) }, request(headers), bucket(document))

  test("comes from its headers before the bucket's default", () => {
    expect(requested({})).toBeUndefined()
    expect(requested({ [ALGORITHM]: 'AES256' })).toEqual({ kind: 'SSE-S3' })
    expect(requested({}, { algorithm: 'AES256' })).toEqual({ kind: 'SSE-S3' })
    expect(requested(RIGHT, { algorithm: 'AES256' })).toMatchObject({ kind: 'SSE-C' })
  })

  test('is refused where headers contradict each other, name what is not offered, or the bucket blocks it', () => {
    const kms = `${ALGORITHM}-aws-kms-key-id`
    for (const [headers, code] of [
      [{ ...RIGHT, [ALGORITHM]: 'aws:kms' }, 'InvalidArgument'],
      [{ [ALGORITHM]: 'aes:kms' }, 'InvalidArgument'],
      [{ [ALGORITHM]: 'AES256', [kms]: 'k' }, 'InvalidArgument'],
      [{ [kms]: 'k' }, 'InvalidArgument'],
      [{ [ALGORITHM]: 'aws:kms', [kms]: 'k' }, 'NotImplemented'],
      [{ [ALGORITHM]: 'aws:kms:dsse' }, 'NotImplemented'],
    ] as const) {
      expect(() => requested(headers)).toThrow(expect.objectContaining({ code }))
    }
    expect(() => requested(RIGHT, { blocksCustomerKeys: true })).toThrow(
      expect.objectContaining({ code: 'AccessDenied' }),
    )
  })
})
