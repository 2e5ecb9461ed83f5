import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { amzDate } from '../../src/api/http/date.js'
import { deriveSigningKey } from '../../src/api/s3/signature/keys.js'
import type { FuzzRequest, Signer } from './fuzz-client.js'
import { damagedJson, POST_POLICY } from './fuzz-json.js'
import { BUCKETS } from './fuzz-requests.js'
import { oddText, urlBytes } from './fuzz-text.js'

/** A POST of a browser's form, as data. */
export interface FuzzForm {
  bucket: string
  fields: [name: string, value: string][]
  /** The policy as JSON; undefined for none. */
  policy: string | undefined
  /** Whether the policy is one that allows what the form has, whatever `policy` says. */
  allowed: boolean
  signature: 'right' | 'wrong' | 'v2' | 'none'
  file: string
  fileName: string
  damage: 'none' | 'boundary' | 'cut' | 'no-end' | 'no-file' | 'bare-lf' | 'headers' | 'byte'
  at: number
}

const FIELDS: Readonly<Record<string, readonly string[]>> = {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the variable of AWS's forms
  key: ['a', 'dir/${filename}', '', 'x'.repeat(1100), '\u0000'],
  acl: ['private', 'public-read', 'x'],
  'content-type': ['text/plain', 'é', 'a\r\nX-Injected: 1'],
  success_action_redirect: [
    'https://x/?a',
    'https://x/😀',
    'http://\ud83d',
    'https://x/\r\nX-Injected: 1',
    'javascript:1',
    'x',
  ],
  success_action_status: ['200', '201', '204', '999', 'x'],
  tagging: ['<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>', '<', '\ud800'],
  'x-amz-meta-a': ['b', 'é😀', 'x'.repeat(2100)],
  'x-amz-meta-é': ['b'],
  'x-amz-meta-a b': ['b'],
  'x-amz-server-side-encryption': ['AES256', 'x'],
  'x-amz-checksum-sha256': ['x'],
  'x-amz-storage-class': ['STANDARD', 'x'],
  'x-amz-security-token': ['x', 'a.b'],
  'x-amz-date': ['x'],
  'content-md5': ['x'],
  __proto__: ['x'],
  file: ['x'],
}

export const fuzzForm: fc.Arbitrary<FuzzForm> = fc.record({
  bucket: fc.constantFrom(BUCKETS.plain, BUCKETS.versioned, BUCKETS.locked),
  fields: fc.array(
    fc
      .constantFrom(...Object.keys(FIELDS))
      .chain((name) =>
        fc
          .oneof(
            { weight: 5, arbitrary: fc.constantFrom(...FIELDS[name]!) },
            { weight: 1, arbitrary: oddText },
          )
          .map((value): [string, string] => [name, value]),
      ),
    { maxLength: 4 },
  ),
  policy: fc.option(damagedJson(POST_POLICY), { nil: undefined, freq: 8 }),
  allowed: fc.boolean(),
  signature: fc.constantFrom(
    'right' as const,
    'right' as const,
    'right' as const,
    'wrong' as const,
    'v2' as const,
    'none' as const,
  ),
  file: fc.constantFrom('hello', '', '\r\n--', 'x'.repeat(70_000)),
  fileName: fc.oneof(fc.constant('f.txt'), oddText),
  damage: fc.oneof(
    { weight: 6, arbitrary: fc.constant('none' as const) },
    {
      weight: 4,
      arbitrary: fc.constantFrom(
        'boundary' as const,
        'cut' as const,
        'no-end' as const,
        'no-file' as const,
        'bare-lf' as const,
        'headers' as const,
        'byte' as const,
      ),
    },
  ),
  at: fc.nat(),
})

/** The form as the request that a browser sends. */
export function formRequest(form: FuzzForm, signer: Signer, nowMs: number): FuzzRequest {
  const date = amzDate(nowMs)
  const day = date.slice(0, 8)
  const fields = [...form.fields]
  if (!fields.some(([name]) => name === 'key')) fields.push(['key', 'a'])
  const proof: [string, string][] = [
    ['x-amz-algorithm', 'AWS4-HMAC-SHA256'],
    ['x-amz-credential', `${signer.keyId}/${day}/us-east-1/s3/aws4_request`],
    ['x-amz-date', date],
  ]
  const all = form.signature === 'right' || form.signature === 'wrong' ? [...fields, ...proof] : fields
  const allowing = {
    expiration: '2099-01-01T00:00:00Z',
    conditions: [{ bucket: form.bucket }, ...all.map(([name]) => ['starts-with', `$${name}`, ''])],
  }
  const policy = form.allowed ? JSON.stringify(allowing) : form.policy
  if (policy !== undefined) {
    const base64 = Buffer.from(policy).toString('base64')
    all.push(['policy', base64])
    const key = deriveSigningKey(signer.secret, day, 'us-east-1', 's3')
    const signature = createHmac('sha256', key).update(base64).digest('hex')
    if (form.signature === 'right') all.push(['x-amz-signature', signature])
    if (form.signature === 'wrong') all.push(['x-amz-signature', signature.replace(/^./, 'é')])
    if (form.signature === 'v2') {
      all.push(['AWSAccessKeyId', signer.keyId])
      all.push(['signature', createHmac('sha1', signer.secret).update(base64).digest('base64')])
    }
  }
  return {
    ...{ method: 'POST', target: `/${form.bucket}`, auth: 'none', length: 'right' },
    headers: [
      ['content-type', `multipart/form-data; boundary=${form.damage === 'boundary' ? 'other' : 'bound'}`],
    ],
    body: formBody(form, all),
  }
}

function formBody({ damage, file, fileName, at }: FuzzForm, fields: [string, string][]): string {
  const quoted = (text: string) => text.replaceAll('"', '%22').replace(/[\r\n]/g, ' ')
  const parts = fields.map(
    ([name, value]) =>
      `--bound\r\nContent-Disposition: form-data; name="${quoted(name)}"\r\n\r\n${value}\r\n`,
  )
  if (damage === 'headers') parts.push(`--bound\r\n${'A: b\r\n'.repeat(3000)}\r\n\r\n`)
  if (damage !== 'no-file') {
    const head = `Content-Disposition: form-data; name="file"; filename="${quoted(fileName)}"`
    parts.push(`--bound\r\n${head}\r\nContent-Type: text/plain\r\n\r\n${file}\r\n`)
  }
  let body = Buffer.from(`${parts.join('')}${damage === 'no-end' ? '' : '--bound--\r\n'}`).toString('latin1')
  if (damage === 'bare-lf') body = body.replaceAll('\r\n', '\n')
  if (damage === 'cut') body = body.slice(0, at % body.length)
  if (damage === 'byte') {
    const i = at % body.length
    body = body.slice(0, i) + String.fromCharCode(at & 255) + body.slice(i + 1)
  }
  return body
}

const STS: Readonly<Record<string, readonly string[]>> = {
  Action: ['AssumeRoleWithWebIdentity', 'AssumeRoleWithWebIdentity', 'GetCallerIdentity'],
  Version: ['2011-06-15', 'x'],
  WebIdentityToken: [
    ...['a.b.c', 'e30.e30.', `${'e'.repeat(9000)}.e30.x`],
    `${Buffer.from('{"alg":"none","kid":"__proto__"}').toString('base64url')}.e30.`,
    `${Buffer.from('{"alg":"RS256","crit":["x"]}').toString('base64url')}.${Buffer.from('{"iss":"http://127.0.0.1:9","aud":[{}],"exp":1e400}').toString('base64url')}.x`,
  ],
  RoleArn: ['arn:aws:iam::1:role/x', 'x'],
  RoleSessionName: ['ab', 'é'],
  DurationSeconds: ['900', '-1', '1e9', '99999999999'],
  Policy: [
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}',
    '{}',
    '['.repeat(2000),
  ],
  ProviderId: ['x'],
  'PolicyArns.member.1.arn': ['x'],
}

/** A request for temporary credentials. */
export const fuzzSts: fc.Arbitrary<FuzzRequest> = fc
  .record({
    pairs: fc.array(
      fc
        .constantFrom(...Object.keys(STS))
        .chain((name) =>
          fc
            .oneof(
              { weight: 5, arbitrary: fc.constantFrom(...STS[name]!) },
              { weight: 1, arbitrary: oddText },
            )
            .map((value) => `${name}=${urlBytes(value)}`),
        ),
      { minLength: 1, maxLength: 7 },
    ),
    inQuery: fc.boolean(),
    broken: fc.constantFrom('', '', '&%zz', '&=&', '\u0000'),
  })
  .map(({ pairs, inQuery, broken }) => {
    const text = `${['Action=AssumeRoleWithWebIdentity', ...pairs].slice(pairs.length % 2).join('&')}${broken.replace('\0', '')}`
    return {
      ...{ method: 'POST', auth: 'none', length: 'right' },
      target: inQuery && text.length < 8000 ? `/?${text}` : '/',
      headers: [['content-type', 'application/x-www-form-urlencoded']],
      body: inQuery ? '' : text,
    }
  })
