/** Settings of a bucket as documents: by the S3 API for the owner of a key, by the admin API for administrators. */
import type { BucketInfo } from '../../api/admin/types.js'
import { adminCommand, curlCommand, word } from '../commands'
import { s3Endpoint, settings } from '../settings'
import { admin } from './admin'
import { ApiError } from './errors'
import { checksum, s3 } from './s3'

export const DOCUMENTS = [
  'policy',
  'lifecycle',
  'cors',
  'website',
  'encryption',
  'notification',
  'tagging',
  'object-lock',
  'publicAccessBlock',
  'ownershipControls',
] as const

export type DocumentName = (typeof DOCUMENTS)[number]

/** A setting as text: XML of S3, or JSON. */
export interface BucketDocument {
  readonly name: DocumentName
  /** Resolves with the empty text if it was never set. @throws ApiError */
  read(): Promise<string>
  /** The server checks the text; the empty one removes the setting. @throws ApiError */
  write(text: string): Promise<void>
  /** A text to begin with. */
  readonly example: string
  /** What its text is: XML of S3, or the admin API's JSON. */
  readonly form: 'json' | 'xml'
  /** The command that writes the text; empty for a text that cannot be read. */
  command(text: string): string
}

/** Those of a bucket, by the S3 API. */
export function documentsByKey(bucket: string): BucketDocument[] {
  return DOCUMENTS.map((name) => ({
    name,
    form: 'xml' as const,
    example: name === 'policy' ? policyExample(bucket) : XML_EXAMPLES[name],
    async read() {
      try {
        const text = await (await s3({ bucket, query: { [name]: '' } })).text()
        return name === 'policy' ? indentJson(text) : indentXml(text)
      } catch (error) {
        if (error instanceof ApiError && error.status === 404 && error.code !== 'NoSuchBucket') return ''
        throw error
      }
    },
    command(text) {
      const isGone = text.trim() === '' && name !== 'notification'
      if (name === 'policy') {
        const verb = isGone ? 'delete-bucket-policy' : 'put-bucket-policy'
        return `aws s3api ${verb} --bucket ${bucket}${isGone ? '' : ` --policy ${word(text.trim())}`}`
      }
      const where = { endpoint: s3Endpoint(), region: settings().region }
      return curlCommand(where, isGone ? 'DELETE' : 'PUT', `/${bucket}?${name}`, text.trim())
    },
    async write(text) {
      const query = { [name]: '' }
      if (text.trim() === '' && name !== 'notification') await s3({ method: 'DELETE', bucket, query })
      else {
        const body = text.trim() || '<NotificationConfiguration/>'
        await s3({ method: 'PUT', bucket, query, body, headers: checksum(body) })
      }
    },
  }))
}

/** Where the admin API has them: in the settings, or as rules of the bucket. */
const ADMIN_NAMES = {
  policy: 'policy',
  encryption: 'encryption',
  notification: 'notifications',
  tagging: 'tags',
  'object-lock': 'objectLock',
  publicAccessBlock: 'publicAccessBlock',
  ownershipControls: 'ownership',
  cors: 'corsRules',
  lifecycle: 'lifecycleRules',
  website: 'websiteAccess',
} as const satisfies Record<DocumentName, string>

/** Those of a bucket, by the admin API. */
export function documentsByAdmin(id: string, bucket: string): BucketDocument[] {
  const query = { id }
  return DOCUMENTS.map((name) => {
    const field = ADMIN_NAMES[name]
    const isRule = field === 'corsRules' || field === 'lifecycleRules'
    const writes = isRule || name === 'website' ? 'UpdateBucket' : 'UpdateBucketSettings'
    const bodyOf = (text: string) => {
      const none = name === 'website' ? { enabled: false } : null
      return { [field]: text.trim() === '' ? none : (JSON.parse(text) as unknown) }
    }
    return {
      name,
      form: 'json' as const,
      example: name === 'policy' ? policyExample(bucket) : JSON.stringify(JSON_EXAMPLES[name], undefined, 2),
      async read() {
        if (name === 'website') return websiteText(await admin<BucketInfo>('GetBucketInfo', { query }))
        const endpoint = isRule ? 'GetBucketInfo' : 'GetBucketSettings'
        const found = (await admin<Record<string, unknown>>(endpoint, { query }))[field]
        return found === null || found === undefined ? '' : JSON.stringify(found, undefined, 2)
      },
      command(text) {
        try {
          return adminCommand(writes, { id, ...bodyOf(text) })
        } catch {
          return ''
        }
      },
      async write(text) {
        await admin(writes, { query, body: bodyOf(text) })
      },
    }
  })
}

function websiteText({ websiteAccess, websiteConfig }: BucketInfo): string {
  if (!websiteAccess || !websiteConfig) return ''
  const given = Object.entries(websiteConfig).filter(([, value]) => value !== null)
  return JSON.stringify({ enabled: true, ...Object.fromEntries(given) }, undefined, 2)
}

function indentJson(text: string): string {
  return JSON.stringify(JSON.parse(text), undefined, 2)
}

/** The document with a line for each element. */
function indentXml(text: string): string {
  const write = (element: Element, indent: string): string => {
    const xmlns = indent === '' && element.namespaceURI ? ` xmlns="${element.namespaceURI}"` : ''
    const type = element.getAttribute('xsi:type')
    const name = element.nodeName
    const open = `${indent}<${name}${xmlns}${type ? ` xsi:type="${type}"` : ''}`
    const children = [...element.children]
    if (children.length > 0) {
      return `${open}>\n${children.map((child) => write(child, `${indent}  `)).join('')}${indent}</${name}>\n`
    }
    const content = new XMLSerializer().serializeToString(document.createTextNode(element.textContent ?? ''))
    return content === '' ? `${open}/>\n` : `${open}>${content}</${name}>\n`
  }
  const root = new DOMParser().parseFromString(text, 'application/xml').documentElement
  // An answer without a rule is that of a bucket where none was set.
  return root.children.length === 0 ? '' : write(root, '')
}

function policyExample(bucket: string): string {
  const statement = {
    ...{ Effect: 'Allow', Principal: '*', Action: 's3:GetObject' },
    Resource: `arn:aws:s3:::${bucket}/public/*`,
  }
  return JSON.stringify({ Version: '2012-10-17', Statement: [statement] }, undefined, 2)
}

type Example = Exclude<DocumentName, 'policy'>

const XML_EXAMPLES: Readonly<Record<Example, string>> = {
  lifecycle: `<LifecycleConfiguration>
  <Rule>
    <ID>old</ID>
    <Status>Enabled</Status>
    <Filter><Prefix>logs/</Prefix></Filter>
    <Expiration><Days>30</Days></Expiration>
    <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>
  </Rule>
</LifecycleConfiguration>`,
  cors: `<CORSConfiguration>
  <CORSRule>
    <AllowedOrigin>https://example.org</AllowedOrigin>
    <AllowedMethod>GET</AllowedMethod>
    <AllowedHeader>*</AllowedHeader>
  </CORSRule>
</CORSConfiguration>`,
  website: `<WebsiteConfiguration>
  <IndexDocument><Suffix>index.html</Suffix></IndexDocument>
  <ErrorDocument><Key>error.html</Key></ErrorDocument>
</WebsiteConfiguration>`,
  encryption: `<ServerSideEncryptionConfiguration>
  <Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>
</ServerSideEncryptionConfiguration>`,
  notification: `<NotificationConfiguration>
  <QueueConfiguration>
    <Queue>arn:carport:sqs::NAME:webhook</Queue>
    <Event>s3:ObjectCreated:*</Event>
  </QueueConfiguration>
</NotificationConfiguration>`,
  tagging: `<Tagging><TagSet><Tag><Key>project</Key><Value>garden</Value></Tag></TagSet></Tagging>`,
  'object-lock': `<ObjectLockConfiguration>
  <ObjectLockEnabled>Enabled</ObjectLockEnabled>
  <Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>30</Days></DefaultRetention></Rule>
</ObjectLockConfiguration>`,
  publicAccessBlock: `<PublicAccessBlockConfiguration>
  <BlockPublicAcls>true</BlockPublicAcls>
  <IgnorePublicAcls>true</IgnorePublicAcls>
  <BlockPublicPolicy>true</BlockPublicPolicy>
  <RestrictPublicBuckets>true</RestrictPublicBuckets>
</PublicAccessBlockConfiguration>`,
  ownershipControls: `<OwnershipControls>
  <Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>
</OwnershipControls>`,
}

const JSON_EXAMPLES: Readonly<Record<Example, unknown>> = {
  lifecycle: [
    {
      ...{ ID: 'old', Status: 'Enabled', Filter: { Prefix: 'logs/' } },
      ...{ Expiration: { Days: 30 }, AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 } },
    },
  ],
  cors: [{ AllowedOrigin: ['https://example.org'], AllowedMethod: ['GET'], AllowedHeader: ['*'] }],
  website: { enabled: true, indexDocument: 'index.html', errorDocument: 'error.html' },
  encryption: { Rule: { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } } },
  notification: {
    QueueConfiguration: [{ Queue: 'arn:carport:sqs::NAME:webhook', Event: ['s3:ObjectCreated:*'] }],
  },
  tagging: [{ Key: 'project', Value: 'garden' }],
  'object-lock': {
    ObjectLockEnabled: 'Enabled',
    Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 30 } },
  },
  publicAccessBlock: {
    ...{ BlockPublicAcls: true, IgnorePublicAcls: true },
    ...{ BlockPublicPolicy: true, RestrictPublicBuckets: true },
  },
  ownershipControls: { Rule: { ObjectOwnership: 'BucketOwnerEnforced' } },
}
