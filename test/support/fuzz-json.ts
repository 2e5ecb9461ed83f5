import fc from 'fast-check'
import { likely, ODD_TEXTS } from './fuzz-text.js'

const ODD_VALUES: unknown[] = [
  null,
  0,
  -1,
  1e308,
  true,
  [],
  {},
  [[]],
  { toString: 1 },
  { length: 3 },
  ['*', null],
  ...ODD_TEXTS,
]

/** A JSON value with some parts replaced by others. */
export function damagedJson(value: fc.Arbitrary<unknown>): fc.Arbitrary<string> {
  const harm = fc.record({ at: fc.nat(60), kind: fc.nat(4), value: fc.constantFrom(...ODD_VALUES) })
  const harms = fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(harm, { minLength: 1, maxLength: 2 }) },
  )
  return fc.tuple(value, harms, fc.nat(40)).map(([whole, changes, last]) => {
    const document = structuredClone({ whole })
    for (const { at, kind, value: odd } of changes) {
      const spots: [Record<string, unknown>, string][] = []
      const walk = (node: unknown) => {
        if (typeof node !== 'object' || node === null) return
        for (const name of Object.keys(node)) {
          spots.push([node as Record<string, unknown>, name])
          walk((node as Record<string, unknown>)[name])
        }
      }
      walk(document)
      const [node, name] = spots[at % spots.length]!
      if (kind === 0 && node !== document) delete node[name]
      else if (kind === 1) node[name] = [node[name], node[name]]
      else if (kind === 2) node.Odd = odd
      else node[name] = odd
    }
    const text = JSON.stringify(document.whole) ?? ''
    if (last === 0) return text.slice(0, -1)
    if (last === 1) return text.replace('{', '{"__proto__":{"a":1},')
    if (last === 2) return `${'['.repeat(9000)}${text}${']'.repeat(9000)}`
    if (last === 3) return text.replace(/:"/, `:${'['.repeat(9000)}${']'.repeat(9000)},"x":"`)
    return text
  })
}

/** A bucket policy about `bucket`. */
export function bucketPolicy(bucket: string): fc.Arbitrary<string> {
  const condition = fc.dictionary(
    fc.constantFrom(
      'StringLike',
      'NumericLessThan',
      'IpAddress',
      'DateGreaterThan',
      'Bool',
      'Null',
      'ForAllValues:StringNotEqualsIfExists',
      'ArnLike',
      'x',
    ),
    fc.dictionary(
      fc.constantFrom(
        'aws:SourceIp',
        'aws:UserAgent',
        's3:prefix',
        's3:ExistingObjectTag/a',
        's3:RequestObjectTag/__proto__',
        'aws:CurrentTime',
        's3:x-amz-acl',
        's3:max-keys',
      ),
      fc.constantFrom<unknown>(
        '127.0.0.1/8',
        '::/0',
        ['a*', '$\u007baws:username}'],
        '2030-01-01T00:00:00Z',
        '5',
        5,
        true,
        'false',
        '*a*a*a*a*a*a*b',
        '${',
        '$\u007ba:b}',
        '',
      ),
      { maxKeys: 2 },
    ),
    { maxKeys: 2 },
  )
  const statement = fc.record(
    {
      Sid: fc.constantFrom('a', 'b'),
      Effect: likely('Allow', 'Deny', 'x'),
      Principal: likely<unknown>(
        '*',
        { AWS: '*' },
        { AWS: ['arn:aws:iam:::user/@ID@', '@ID@'] },
        { Federated: 'x' },
      ),
      Action: likely<unknown>('s3:*', ['s3:GetObject', 's3:ListBucket'], 's3:Put*', '*', 'x'),
      Resource: likely<unknown>(
        `arn:aws:s3:::${bucket}/*`,
        [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`],
        '*',
        'x',
      ),
      Condition: condition,
    },
    { requiredKeys: ['Effect', 'Principal', 'Action', 'Resource'] },
  )
  const policy = fc.record({
    Version: fc.constantFrom('2012-10-17', '2008-10-17'),
    Statement: fc.array(statement, { minLength: 1, maxLength: 3 }),
  })
  return damagedJson(policy).map((text) => Buffer.from(text).toString('latin1'))
}

/** The policy of a POST form, as an object. */
export const POST_POLICY = fc.record(
  {
    expiration: fc.constantFrom<unknown>('2099-01-01T00:00:00Z', '2001-01-01T00:00:00.000Z', 'x', 5),
    conditions: fc.array(
      fc.constantFrom<unknown>(
        ...[
          { bucket: 'fuzz-plain' },
          ['starts-with', '$key', ''],
          ['eq', '$content-type', 'x'],
          ['content-length-range', 0, 9],
        ],
        ...[
          ['content-length-range', '0', 1e9],
          ['starts-with', '$', ''],
          ['x'],
          [],
          {},
          { a: 'b', c: 'd' },
          ['starts-with', '$x-amz-meta-a', ''],
        ],
      ),
      { maxLength: 5 },
    ),
  },
  { requiredKeys: [] },
)
