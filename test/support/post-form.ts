import { createHmac } from 'node:crypto'
import type { AccessKey } from '../../src/model/buckets/access-keys.js'

const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()

/** Makes the fields of a POST form with a policy of these conditions, signed by Signature V4; `fields` are covered by it. */
export function signedForm(
  key: AccessKey,
  bucket: string,
  fields: Record<string, string>,
  options: { conditions?: unknown[]; expiresMs?: number; secret?: string } = {},
): Record<string, string> {
  const amzDate = `${new Date().toISOString().slice(0, 19).replace(/[-:]/g, '')}Z`
  const day = amzDate.slice(0, 8)
  const proof = {
    'x-amz-algorithm': 'AWS4-HMAC-SHA256',
    'x-amz-credential': `${key.id}/${day}/us-east-1/s3/aws4_request`,
    'x-amz-date': amzDate,
  }
  const covered = { ...fields, ...proof }
  const conditions = options.conditions ?? []
  const named = new Set(
    conditions.flatMap((c) =>
      Array.isArray(c) ? [String(c[1]).slice(1).toLowerCase()] : Object.keys(c as object),
    ),
  )
  const document = {
    expiration: new Date(Date.now() + (options.expiresMs ?? 60_000)).toISOString(),
    conditions: [
      { bucket },
      ...conditions,
      ...Object.entries(covered)
        .filter(([name]) => !named.has(name))
        .map(([name, value]) => ({ [name]: value })),
    ],
  }
  const policy = Buffer.from(JSON.stringify(document)).toString('base64')
  const signing = hmac(
    hmac(hmac(hmac(`AWS4${options.secret ?? key.secret}`, day), 'us-east-1'), 's3'),
    'aws4_request',
  )
  return { ...covered, policy, 'x-amz-signature': hmac(signing, policy).toString('hex') }
}

/** Posts a form, with the file as its last field. */
export function postForm(
  url: string,
  fields: Record<string, string>,
  file?: { content: Buffer | string; name: string },
): Promise<Response> {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  if (file) form.append('file', new Blob([file.content]), file.name)
  return fetch(url, { method: 'POST', body: form, redirect: 'manual' })
}
