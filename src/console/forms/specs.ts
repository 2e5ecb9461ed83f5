/** The forms of settings: which fields they have, and where these stand in the value. */
import type { DocumentName } from '../net/bucket-documents'
import type { TextName } from '../texts/texts'
import type { Form } from './documents'
import {
  lifecycleFields,
  lifecycleValue,
  notificationFields,
  notificationValue,
  policyFields,
  policyValue,
} from './shapes'
import type { Fields, Path, Value } from './values'

export type Field = {
  readonly path: Path
  readonly label: TextName
  readonly hint?: TextName
} & (
  | {
      readonly kind:
        | 'text'
        | 'number'
        | 'date'
        | 'lines'
        | 'pairs'
        | 'flag'
        | 'principal'
        | 'actions'
        | 'places'
    }
  | { readonly kind: 'choice'; readonly options: readonly (readonly [value: string, label: TextName])[] }
  | { readonly kind: 'checks'; readonly options: readonly string[] }
)

export interface Spec {
  readonly fields: readonly Field[]
  /** Of a setting that is a list of rules: a new one, and how its rules stand in the value. */
  readonly rules?: {
    readonly made: (bucket: string) => Fields
    readonly read: (value: Value | undefined) => Fields[]
    readonly write: (rules: Fields[], value: Value | undefined) => Value
  }
  /** What is in the value whenever anything is. */
  readonly always?: Fields
}

const LIST = {
  read: (value: Value | undefined) => (Array.isArray(value) ? (value as Fields[]) : []),
  write: (rules: Fields[]): Value => rules,
}

const CORS: Spec = {
  rules: { ...LIST, made: () => ({ AllowedOrigin: ['*'], AllowedMethod: ['GET'] }) },
  fields: [
    { kind: 'lines', path: ['AllowedOrigin'], label: 'cors.origins', hint: 'cors.origins-hint' },
    {
      kind: 'checks',
      path: ['AllowedMethod'],
      label: 'cors.methods',
      options: ['GET', 'HEAD', 'PUT', 'POST', 'DELETE'],
    },
    { kind: 'lines', path: ['AllowedHeader'], label: 'cors.headers', hint: 'cors.headers-hint' },
    { kind: 'lines', path: ['ExposeHeader'], label: 'cors.exposed' },
    { kind: 'number', path: ['MaxAgeSeconds'], label: 'cors.max-age' },
    { kind: 'text', path: ['ID'], label: 'form.id' },
  ],
}

const LIFECYCLE: Spec = {
  rules: {
    read: (value) => LIST.read(value).map(lifecycleFields),
    write: (rules) => rules.map(lifecycleValue),
    made: () => ({ Status: 'Enabled', Filter: {}, Expiration: { Days: 30 } }),
  },
  fields: [
    {
      kind: 'choice',
      path: ['Status'],
      label: 'lifecycle.status',
      options: [
        ['Enabled', 'form.on'],
        ['Disabled', 'form.off'],
      ],
    },
    { kind: 'text', path: ['Filter', 'Prefix'], label: 'lifecycle.prefix', hint: 'lifecycle.prefix-hint' },
    { kind: 'pairs', path: ['Filter', 'Tag'], label: 'lifecycle.tags' },
    { kind: 'number', path: ['Filter', 'ObjectSizeGreaterThan'], label: 'lifecycle.longer' },
    { kind: 'number', path: ['Filter', 'ObjectSizeLessThan'], label: 'lifecycle.shorter' },
    { kind: 'number', path: ['Expiration', 'Days'], label: 'lifecycle.days', hint: 'lifecycle.days-hint' },
    { kind: 'date', path: ['Expiration', 'Date'], label: 'lifecycle.date' },
    { kind: 'flag', path: ['Expiration', 'ExpiredObjectDeleteMarker'], label: 'lifecycle.markers' },
    {
      kind: 'number',
      path: ['NoncurrentVersionExpiration', 'NoncurrentDays'],
      label: 'lifecycle.noncurrent',
    },
    {
      kind: 'number',
      path: ['NoncurrentVersionExpiration', 'NewerNoncurrentVersions'],
      label: 'lifecycle.kept',
    },
    {
      kind: 'number',
      path: ['AbortIncompleteMultipartUpload', 'DaysAfterInitiation'],
      label: 'lifecycle.uploads',
    },
    { kind: 'text', path: ['ID'], label: 'form.id' },
  ],
}

const REDIRECT: readonly Field[] = [
  { kind: 'text', path: ['Condition', 'KeyPrefixEquals'], label: 'website.if-prefix' },
  { kind: 'number', path: ['Condition', 'HttpErrorCodeReturnedEquals'], label: 'website.if-error' },
  { kind: 'text', path: ['Redirect', 'HostName'], label: 'website.to-host' },
  { kind: 'text', path: ['Redirect', 'ReplaceKeyPrefixWith'], label: 'website.to-prefix' },
  { kind: 'text', path: ['Redirect', 'ReplaceKeyWith'], label: 'website.to-key' },
  {
    ...{ kind: 'choice', path: ['Redirect', 'Protocol'], label: 'website.protocol' },
    options: [
      ['', 'website.same-protocol'],
      ['https', 'website.https'],
      ['http', 'website.http'],
    ],
  },
  { kind: 'number', path: ['Redirect', 'HttpRedirectCode'], label: 'website.code' },
]

/** Of a web site, the fields of the whole, and those of each of its redirects. */
export const WEBSITE: Readonly<Record<Form, { whole: Spec; rules: Spec }>> = {
  json: {
    whole: {
      always: { enabled: true },
      fields: [
        { kind: 'text', path: ['indexDocument'], label: 'website.index', hint: 'website.index-hint' },
        { kind: 'text', path: ['errorDocument'], label: 'website.error' },
        {
          ...{ kind: 'choice', path: ['consistencyMode'], label: 'website.consistency' },
          options: [
            ['', 'website.consistent'],
            ['degraded', 'website.degraded'],
          ],
        },
      ],
    },
    rules: { rules: within(['routingRules']), fields: REDIRECT },
  },
  xml: {
    whole: {
      fields: [
        {
          kind: 'text',
          path: ['IndexDocument', 'Suffix'],
          label: 'website.index',
          hint: 'website.index-hint',
        },
        { kind: 'text', path: ['ErrorDocument', 'Key'], label: 'website.error' },
        { kind: 'text', path: ['RedirectAllRequestsTo', 'HostName'], label: 'website.all-to' },
      ],
    },
    rules: { rules: within(['RoutingRules']), fields: REDIRECT },
  },
}

function within([name]: readonly [string]): NonNullable<Spec['rules']> {
  return {
    made: () => ({ Condition: { KeyPrefixEquals: 'old/' }, Redirect: { ReplaceKeyPrefixWith: 'new/' } }),
    read: (value) => LIST.read((value as Fields | undefined)?.[name]),
    write(rules, value) {
      const { [name]: _, ...rest } = (value ?? {}) as Fields
      return rules.length === 0 ? rest : { ...rest, [name]: rules }
    },
  }
}

const NOTIFICATION: Spec = {
  rules: {
    read: notificationFields,
    write: notificationValue,
    made: () => ({ Target: 'arn:carport:sqs::NAME:webhook', Event: ['s3:ObjectCreated:*'] }),
  },
  fields: [
    { kind: 'text', path: ['Target'], label: 'notification.target', hint: 'notification.target-hint' },
    {
      ...{ kind: 'checks', path: ['Event'], label: 'notification.events' },
      options: [
        ...['s3:ObjectCreated:*', 's3:ObjectCreated:Put', 's3:ObjectCreated:Post', 's3:ObjectCreated:Copy'],
        ...['s3:ObjectCreated:CompleteMultipartUpload', 's3:ObjectRemoved:*', 's3:ObjectRemoved:Delete'],
        's3:ObjectRemoved:DeleteMarkerCreated',
      ],
    },
    { kind: 'text', path: ['prefix'], label: 'notification.prefix' },
    { kind: 'text', path: ['suffix'], label: 'notification.suffix' },
    { kind: 'text', path: ['Id'], label: 'form.id' },
  ],
}

const POLICY: Spec = {
  rules: {
    read: policyFields,
    write: policyValue,
    made: (bucket) => ({
      ...{ Effect: 'Allow', Principal: '*', Action: 's3:GetObject' },
      Resource: `arn:aws:s3:::${bucket}/public/*`,
    }),
  },
  fields: [
    {
      kind: 'choice',
      path: ['Effect'],
      label: 'policy.effect',
      options: [
        ['Allow', 'policy.effect-allow'],
        ['Deny', 'policy.effect-deny'],
      ],
    },
    { kind: 'principal', path: ['Principal'], label: 'policy.principal' },
    { kind: 'actions', path: ['Action'], label: 'policy.actions' },
    { kind: 'places', path: ['Resource'], label: 'policy.resources', hint: 'policy.resources-hint' },
    {
      kind: 'lines',
      path: ['Condition', 'IpAddress', 'aws:SourceIp'],
      label: 'policy.ip',
      hint: 'policy.ip-hint',
    },
    {
      ...{ kind: 'choice', path: ['Condition', 'Bool', 'aws:SecureTransport'], label: 'policy.tls' },
      options: [
        ['', 'policy.tls-any'],
        ['true', 'policy.tls-with'],
        ['false', 'policy.tls-without'],
      ],
    },
    { kind: 'text', path: ['Sid'], label: 'form.id' },
  ],
}

const LOCK = ['Rule', 'DefaultRetention'] as const

export const SPECS: Readonly<Record<Exclude<DocumentName, 'website'>, Spec>> = {
  policy: POLICY,
  lifecycle: LIFECYCLE,
  cors: CORS,
  notification: NOTIFICATION,
  encryption: {
    fields: [
      {
        ...{ kind: 'choice', path: ['Rule', 'ApplyServerSideEncryptionByDefault', 'SSEAlgorithm'] },
        label: 'encryption.algorithm',
        options: [
          ['', 'encryption.none'],
          ['AES256', 'encryption.aes256'],
        ],
      },
    ],
  },
  'object-lock': {
    always: { ObjectLockEnabled: 'Enabled' },
    fields: [
      {
        ...{ kind: 'choice', path: ['ObjectLockEnabled'], label: 'lock.enabled' },
        options: [
          ['', 'form.off'],
          ['Enabled', 'form.on'],
        ],
      },
      {
        ...{ kind: 'choice', path: [...LOCK, 'Mode'], label: 'lock.mode' },
        options: [
          ['', 'lock.none'],
          ['GOVERNANCE', 'lock.governance'],
          ['COMPLIANCE', 'lock.compliance'],
        ],
      },
      { kind: 'number', path: [...LOCK, 'Days'], label: 'lock.days', hint: 'lock.days-hint' },
      { kind: 'number', path: [...LOCK, 'Years'], label: 'lock.years' },
    ],
  },
  publicAccessBlock: {
    fields: [
      { kind: 'flag', path: ['BlockPublicAcls'], label: 'access.block-acls' },
      { kind: 'flag', path: ['IgnorePublicAcls'], label: 'access.ignore-acls' },
      { kind: 'flag', path: ['BlockPublicPolicy'], label: 'access.block-policy' },
      { kind: 'flag', path: ['RestrictPublicBuckets'], label: 'access.restrict' },
    ],
  },
  ownershipControls: {
    fields: [
      {
        ...{ kind: 'choice', path: ['Rule', 'ObjectOwnership'], label: 'ownership.owner' },
        options: [
          ['', 'ownership.none'],
          ['ObjectWriter', 'ownership.writer'],
          ['BucketOwnerPreferred', 'ownership.preferred'],
          ['BucketOwnerEnforced', 'ownership.enforced'],
        ],
      },
    ],
  },
  // The whole value is a list: the form has one field, of the pairs themselves.
  tagging: { fields: [{ kind: 'pairs', path: [], label: 'document.tagging' }] },
}
