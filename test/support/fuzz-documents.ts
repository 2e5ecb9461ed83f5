/** Documents that S3 takes, nearly right: XML made by each one's schema, then damaged. */
import fc from 'fast-check'
import { likely, oddText } from './fuzz-text.js'

/** An XML element: its children, or its text. */
export interface Xml {
  name: string
  inner: Xml[] | string
  attributes?: string
}

type Schema = () => fc.Arbitrary<Xml>

const el = (name: string, inner: Xml[] | string, attributes?: string): Xml => ({
  name,
  inner,
  ...(attributes !== undefined && { attributes }),
})
const texts = (name: string, ...values: [string, ...string[]]): fc.Arbitrary<Xml> =>
  likely(...values).map((value) => el(name, value))
/** Picks some of the children, most often all. */
const group = (name: string, ...children: fc.Arbitrary<Xml>[]): fc.Arbitrary<Xml> =>
  fc.tuple(...children.map((child) => fc.option(child, { freq: 10, nil: undefined }))).map((found) =>
    el(
      name,
      found.filter((child) => child !== undefined),
    ),
  )
/** Picks one of the children, most often. */
const either = (name: string, ...children: fc.Arbitrary<Xml>[]): fc.Arbitrary<Xml> =>
  fc.oneof(
    { weight: 4, arbitrary: fc.oneof(...children).map((child) => el(name, [child])) },
    { weight: 1, arbitrary: group(name, ...children) },
  )
const list = (name: string, item: fc.Arbitrary<Xml>, maxLength = 3): fc.Arbitrary<Xml> =>
  fc.array(item, { maxLength }).map((items) => el(name, items))

const DATES: [string, ...string[]] = [
  '2030-01-01T00:00:00Z',
  '2030-01-01T00:00:00.000Z',
  '9999-12-31T23:59:59-23:59',
  '2001-01-01',
  'x',
]
const KEYS: [string, ...string[]] = [
  'a',
  'dir/b',
  'é😀',
  '__proto__',
  '@K@',
  'x'.repeat(1024),
  'x'.repeat(1025),
  '\u0001',
  '',
]
const DAYS: [string, ...string[]] = [
  '1',
  '30',
  '0',
  '-1',
  '36500',
  '36501',
  '2147483647',
  '999999999999999',
  '1e3',
  '1.5',
  '',
]

const tag = () =>
  group('Tag', texts('Key', 'a', 'b', ...KEYS), texts('Value', 'x', '', '<&>"', 'y'.repeat(257)))
const filter = () =>
  either(
    'Filter',
    texts('Prefix', '', 'dir/', ...KEYS),
    tag(),
    texts('ObjectSizeGreaterThan', '0', ...DAYS),
    texts('ObjectSizeLessThan', '5', ...DAYS),
    group('And', texts('Prefix', 'dir/x'), tag(), texts('ObjectSizeLessThan', '7')),
  )

/** A document for each operation that takes XML, by its name. */
export const XML_SCHEMAS: Readonly<Record<string, Schema>> = {
  CreateBucket: () =>
    group('CreateBucketConfiguration', texts('LocationConstraint', 'us-east-1', 'garage', 'eu', '', '<')),
  PutBucketVersioning: () =>
    group(
      'VersioningConfiguration',
      texts('Status', 'Enabled', 'Suspended', 'x'),
      texts('MfaDelete', 'Disabled', 'Enabled'),
    ),
  PutBucketAcl: () => acl(),
  PutObjectAcl: () => acl(),
  PutBucketCors: () =>
    list(
      'CORSConfiguration',
      group(
        'CORSRule',
        texts('AllowedOrigin', '*', 'https://*.example', 'https://a', '**', 'é'),
        texts('AllowedMethod', 'GET', 'PUT', 'PATCH', ''),
        texts('AllowedHeader', '*', 'x-amz-*', 'a\r\nb', 'content-type'),
        texts('ExposeHeader', 'etag', '*', 'x\u0001'),
        texts('MaxAgeSeconds', ...DAYS),
        texts('ID', 'one', '', 'x'.repeat(256)),
      ),
    ),
  PutBucketLifecycleConfiguration: () =>
    list(
      'LifecycleConfiguration',
      group(
        'Rule',
        texts('ID', 'a', 'b', '', 'x'.repeat(256)),
        texts('Status', 'Enabled', 'Disabled', 'On'),
        filter(),
        either(
          'Expiration',
          texts('Days', ...DAYS),
          texts('Date', ...DATES),
          texts('ExpiredObjectDeleteMarker', 'true', 'x'),
        ),
        group(
          'NoncurrentVersionExpiration',
          texts('NoncurrentDays', ...DAYS),
          texts('NewerNoncurrentVersions', ...DAYS),
        ),
        group('AbortIncompleteMultipartUpload', texts('DaysAfterInitiation', ...DAYS)),
      ),
    ),
  PutBucketWebsite: () =>
    group(
      'WebsiteConfiguration',
      group('IndexDocument', texts('Suffix', 'index.html', '', 'a/b')),
      group('ErrorDocument', texts('Key', ...KEYS)),
      list(
        'RoutingRules',
        group(
          'RoutingRule',
          group(
            'Condition',
            texts('KeyPrefixEquals', ...KEYS),
            texts('HttpErrorCodeReturnedEquals', '404', ...DAYS),
          ),
          group(
            'Redirect',
            texts('HostName', 'h', 'a\r\nb'),
            texts('HttpRedirectCode', '301', ...DAYS),
            texts('ReplaceKeyWith', ...KEYS),
          ),
        ),
      ),
    ),
  PutBucketTagging: () => group('Tagging', list('TagSet', tag(), 12)),
  PutObjectTagging: () => group('Tagging', list('TagSet', tag(), 12)),
  PutBucketEncryption: () =>
    group(
      'ServerSideEncryptionConfiguration',
      group(
        'Rule',
        group('ApplyServerSideEncryptionByDefault', texts('SSEAlgorithm', 'AES256', 'aws:kms', 'x')),
        texts('BucketKeyEnabled', 'true', 'false', '1'),
        group('BlockedEncryptionTypes', texts('EncryptionType', 'SSE-C', 'NONE')),
      ),
    ),
  PutBucketLogging: () => list('BucketLoggingStatus', group('LoggingEnabled', texts('TargetBucket', 'b'))),
  PutBucketNotificationConfiguration: () =>
    list(
      'NotificationConfiguration',
      group(
        'QueueConfiguration',
        texts('Id', 'a', 'x'.repeat(256)),
        texts('Queue', 'arn:carport:sqs::t:webhook', 'arn:aws:sqs:us-east-1:1:q', ''),
        texts('Event', 's3:ObjectCreated:*', 's3:x'),
        group(
          'Filter',
          group('S3Key', group('FilterRule', texts('Name', 'prefix', 'suffix'), texts('Value', ...KEYS))),
        ),
      ),
    ),
  PutBucketOwnershipControls: () =>
    list(
      'OwnershipControls',
      group(
        'Rule',
        texts('ObjectOwnership', 'BucketOwnerEnforced', 'ObjectWriter', 'BucketOwnerPreferred', 'x'),
      ),
      2,
    ),
  PutPublicAccessBlock: () =>
    group(
      'PublicAccessBlockConfiguration',
      texts('BlockPublicAcls', 'true', 'false', ''),
      texts('IgnorePublicAcls', 'TRUE', 'x'),
      texts('BlockPublicPolicy', 'false'),
    ),
  PutBucketRequestPayment: () =>
    group('RequestPaymentConfiguration', texts('Payer', 'BucketOwner', 'Requester', 'x')),
  PutObjectLockConfiguration: () =>
    group(
      'ObjectLockConfiguration',
      texts('ObjectLockEnabled', 'Enabled', 'x'),
      group(
        'Rule',
        group(
          'DefaultRetention',
          texts('Mode', 'GOVERNANCE', 'COMPLIANCE', 'x'),
          texts('Days', ...DAYS),
          texts('Years', ...DAYS),
        ),
      ),
    ),
  PutObjectRetention: () =>
    group('Retention', texts('Mode', 'GOVERNANCE', 'x'), texts('RetainUntilDate', ...DATES)),
  PutObjectLegalHold: () => group('LegalHold', texts('Status', 'ON', 'OFF', 'on')),
  RestoreObject: () => group('RestoreRequest', texts('Days', ...DAYS)),
  DeleteObjects: () =>
    fc
      .tuple(
        fc.array(
          group(
            'Object',
            texts('Key', 'a', 'dir/b', ...KEYS),
            texts('VersionId', '@V0@', '@V1@', 'null', 'x'),
          ),
          { maxLength: 20 },
        ),
        texts('Quiet', 'true', 'false'),
      )
      .map(([objects, quiet]) => el('Delete', [...objects, quiet])),
  CompleteMultipartUpload: () =>
    list(
      'CompleteMultipartUpload',
      group(
        'Part',
        texts('PartNumber', '1', '2', '0', '10001', '1e3', '-1', ''),
        texts('ETag', '@E0@', '"@E1@"', '"', 'é', '0'.repeat(32)),
        fc.constantFrom(el('ChecksumType', 'x'), el('Size', '5'), el('ChecksumCRC32', 'x')),
      ),
      2,
    ),
}

function acl(): fc.Arbitrary<Xml> {
  const grantee = fc.constantFrom(
    el(
      'Grantee',
      [el('ID', '@ID@')],
      'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"',
    ),
    el('Grantee', [el('URI', 'http://acs.amazonaws.com/groups/global/AllUsers')], 'type="Group"'),
    el('Grantee', [el('EmailAddress', 'a@b')]),
    el('Grantee', [el('ID', 'GK'.repeat(3000))]),
  )
  return group(
    'AccessControlPolicy',
    group('Owner', texts('ID', '@ID@', 'x')),
    list('AccessControlList', group('Grant', grantee, texts('Permission', 'READ', 'FULL_CONTROL', 'x'))),
  )
}

const escaped = (text: string) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)

function write({ name, inner, attributes }: Xml): string {
  const content = typeof inner === 'string' ? escaped(inner) : inner.map(write).join('')
  return `<${name}${attributes === undefined ? '' : ` ${attributes}`}>${content}</${name}>`
}

function all(node: Xml, found: Xml[] = []): Xml[] {
  found.push(node)
  if (typeof node.inner !== 'string') for (const child of node.inner) all(child, found)
  return found
}

const TREE_DAMAGE = ['empty', 'text', 'drop', 'twice', 'rename', 'deeper', 'number', 'itself'] as const

/** Changes one element of a tree, in place. */
function damage(root: Xml, kind: (typeof TREE_DAMAGE)[number], at: number, value: string): void {
  const nodes = all(root)
  const node = nodes[at % nodes.length]!
  const list = typeof node.inner === 'string' ? [] : node.inner
  switch (kind) {
    case 'empty':
      node.inner = ''
      return
    case 'text':
    case 'number':
      node.inner = value
      return
    case 'drop':
      node.inner = list.slice(1)
      return
    case 'twice':
      node.inner = [...list, ...list]
      return
    case 'rename':
      node.name = /^[a-z]+$/i.test(value) ? value : '__proto__'
      return
    case 'deeper':
      node.inner = [el(node.name, node.inner)]
      return
    case 'itself':
      node.inner = [structuredClone(root)]
  }
}

const TEXT_DAMAGE = [
  ...[
    '<!DOCTYPE a [<!ENTITY b "c">]>',
    '&b;',
    '&#0;',
    '&#x110000;',
    '<![CDATA[',
    ']]>',
    '<!--',
    '<?a?>',
    '\u0000',
  ],
  ...['<a xmlns:a="', '</', '>', '\uFEFF', '<__proto__/>', '&amp;', ' '.repeat(5000), '<a>'.repeat(500)],
]

/** The document of an operation as UTF-8 bytes, sometimes right, sometimes with some damage. */
export function xmlBody(operation: string): fc.Arbitrary<string> {
  const schema = XML_SCHEMAS[operation]?.() ?? fc.constant(el('A', 'b'))
  const harm = fc.record({ kind: fc.constantFrom(...TREE_DAMAGE), at: fc.nat(200), value: oddText })
  const insertion = fc.record({ at: fc.nat(5000), text: fc.constantFrom(...TEXT_DAMAGE), drop: fc.nat(9) })
  return fc
    .record({
      root: schema,
      harms: fc.oneof(
        { weight: 4, arbitrary: fc.constant([]) },
        { weight: 2, arbitrary: fc.array(harm, { maxLength: 3 }) },
      ),
      insertions: fc.oneof(
        { weight: 4, arbitrary: fc.constant([]) },
        { weight: 1, arbitrary: fc.array(insertion, { minLength: 1, maxLength: 2 }) },
      ),
      encoding: fc.oneof(
        { weight: 30, arbitrary: fc.constant('utf8' as const) },
        fc.constantFrom('utf16le' as const, 'latin1' as const),
      ),
    })
    .map(({ root, harms, insertions, encoding }) => {
      const tree = structuredClone(root)
      for (const { kind, at, value } of harms) damage(tree, kind, at, value)
      let text = write(tree)
      for (const { at, text: more, drop } of insertions) {
        const i = at % (text.length + 1)
        text = text.slice(0, i) + more + text.slice(i + drop)
      }
      return Buffer.from(text, encoding).toString('latin1')
    })
}
