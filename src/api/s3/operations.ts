/** The HTTP methods of the S3 API. OPTIONS is answered before the operation is detected. */
export type S3Method = 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'

type Rows = Partial<Record<S3Method, Readonly<Record<string, string>>>>

/** Operations on a bucket by method and by the sub-resource in the query; '' stands for none. */
export const BUCKET_OPERATIONS = {
  GET: {
    '': 'ListObjects',
    abac: 'GetBucketAbac',
    accelerate: 'GetBucketAccelerateConfiguration',
    acl: 'GetBucketAcl',
    analytics: 'GetBucketAnalyticsConfiguration',
    cors: 'GetBucketCors',
    encryption: 'GetBucketEncryption',
    'intelligent-tiering': 'GetBucketIntelligentTieringConfiguration',
    inventory: 'GetBucketInventoryConfiguration',
    lifecycle: 'GetBucketLifecycleConfiguration',
    'list-type': 'ListObjectsV2',
    location: 'GetBucketLocation',
    logging: 'GetBucketLogging',
    metadataConfiguration: 'GetBucketMetadataConfiguration',
    metadataTable: 'GetBucketMetadataTableConfiguration',
    metrics: 'GetBucketMetricsConfiguration',
    notification: 'GetBucketNotificationConfiguration',
    'object-lock': 'GetObjectLockConfiguration',
    ownershipControls: 'GetBucketOwnershipControls',
    policy: 'GetBucketPolicy',
    policyStatus: 'GetBucketPolicyStatus',
    publicAccessBlock: 'GetPublicAccessBlock',
    relaxed: 'GetBucketRelaxed',
    replication: 'GetBucketReplication',
    requestPayment: 'GetBucketRequestPayment',
    session: 'CreateSession',
    tagging: 'GetBucketTagging',
    uploads: 'ListMultipartUploads',
    versioning: 'GetBucketVersioning',
    versions: 'ListObjectVersions',
    website: 'GetBucketWebsite',
  },
  HEAD: { '': 'HeadBucket' },
  PUT: {
    '': 'CreateBucket',
    abac: 'PutBucketAbac',
    accelerate: 'PutBucketAccelerateConfiguration',
    acl: 'PutBucketAcl',
    analytics: 'PutBucketAnalyticsConfiguration',
    cors: 'PutBucketCors',
    encryption: 'PutBucketEncryption',
    'intelligent-tiering': 'PutBucketIntelligentTieringConfiguration',
    inventory: 'PutBucketInventoryConfiguration',
    lifecycle: 'PutBucketLifecycleConfiguration',
    logging: 'PutBucketLogging',
    metadataAnnotationTable: 'UpdateBucketMetadataAnnotationTableConfiguration',
    metadataInventoryTable: 'UpdateBucketMetadataInventoryTableConfiguration',
    metadataJournalTable: 'UpdateBucketMetadataJournalTableConfiguration',
    metrics: 'PutBucketMetricsConfiguration',
    notification: 'PutBucketNotificationConfiguration',
    'object-lock': 'PutObjectLockConfiguration',
    ownershipControls: 'PutBucketOwnershipControls',
    policy: 'PutBucketPolicy',
    publicAccessBlock: 'PutPublicAccessBlock',
    relaxed: 'PutBucketRelaxed',
    replication: 'PutBucketReplication',
    requestPayment: 'PutBucketRequestPayment',
    tagging: 'PutBucketTagging',
    versioning: 'PutBucketVersioning',
    website: 'PutBucketWebsite',
  },
  POST: {
    '': 'PostObject',
    delete: 'DeleteObjects',
    metadataConfiguration: 'CreateBucketMetadataConfiguration',
    metadataTable: 'CreateBucketMetadataTableConfiguration',
  },
  DELETE: {
    '': 'DeleteBucket',
    analytics: 'DeleteBucketAnalyticsConfiguration',
    cors: 'DeleteBucketCors',
    encryption: 'DeleteBucketEncryption',
    'intelligent-tiering': 'DeleteBucketIntelligentTieringConfiguration',
    inventory: 'DeleteBucketInventoryConfiguration',
    lifecycle: 'DeleteBucketLifecycle',
    metadataConfiguration: 'DeleteBucketMetadataConfiguration',
    metadataTable: 'DeleteBucketMetadataTableConfiguration',
    metrics: 'DeleteBucketMetricsConfiguration',
    ownershipControls: 'DeleteBucketOwnershipControls',
    policy: 'DeleteBucketPolicy',
    publicAccessBlock: 'DeletePublicAccessBlock',
    relaxed: 'DeleteBucketRelaxed',
    replication: 'DeleteBucketReplication',
    tagging: 'DeleteBucketTagging',
    website: 'DeleteBucketWebsite',
  },
} as const satisfies Rows

/** Sub-resources of GET on a bucket whose operation without `id` is a listing. */
export const LISTED_CONFIGURATIONS = {
  analytics: 'ListBucketAnalyticsConfigurations',
  'intelligent-tiering': 'ListBucketIntelligentTieringConfigurations',
  inventory: 'ListBucketInventoryConfigurations',
  metrics: 'ListBucketMetricsConfigurations',
} as const

/** Operations on an object, in the same form. */
export const OBJECT_OPERATIONS = {
  GET: {
    '': 'GetObject',
    acl: 'GetObjectAcl',
    annotation: 'GetObjectAnnotation',
    attributes: 'GetObjectAttributes',
    'legal-hold': 'GetObjectLegalHold',
    retention: 'GetObjectRetention',
    tagging: 'GetObjectTagging',
    torrent: 'GetObjectTorrent',
    uploadId: 'ListParts',
  },
  HEAD: { '': 'HeadObject' },
  PUT: {
    '': 'PutObject',
    acl: 'PutObjectAcl',
    annotation: 'PutObjectAnnotation',
    encryption: 'UpdateObjectEncryption',
    'legal-hold': 'PutObjectLegalHold',
    renameObject: 'RenameObject',
    retention: 'PutObjectRetention',
    tagging: 'PutObjectTagging',
    uploadId: 'UploadPart',
  },
  POST: {
    restore: 'RestoreObject',
    select: 'SelectObjectContent',
    uploadId: 'CompleteMultipartUpload',
    uploads: 'CreateMultipartUpload',
  },
  DELETE: {
    '': 'DeleteObject',
    annotation: 'DeleteObjectAnnotation',
    tagging: 'DeleteObjectTagging',
    uploadId: 'AbortMultipartUpload',
  },
} as const satisfies Rows

type ValuesOf<T> = T extends Record<string, infer V> ? V : never
type OperationsOf<T> = { [M in keyof T]: ValuesOf<T[M]> }[keyof T]

/** Every operation of the S3 API, by its name in the API reference. */
export type S3Operation =
  | OperationsOf<typeof BUCKET_OPERATIONS>
  | OperationsOf<typeof OBJECT_OPERATIONS>
  | ValuesOf<typeof LISTED_CONFIGURATIONS>
  | 'ListBuckets'
  | 'ListDirectoryBuckets'
  | 'ListObjectAnnotations'
  | 'CopyObject'
  | 'UploadPartCopy'
  | 'WriteGetObjectResponse'

/** All names, for tables that must be filled at run time. */
export const S3_OPERATIONS: readonly S3Operation[] = [
  ...new Set<S3Operation>([
    ...Object.values(BUCKET_OPERATIONS).flatMap((row) => Object.values(row) as S3Operation[]),
    ...Object.values(OBJECT_OPERATIONS).flatMap((row) => Object.values(row) as S3Operation[]),
    ...Object.values(LISTED_CONFIGURATIONS),
    'ListBuckets',
    'ListDirectoryBuckets',
    'ListObjectAnnotations',
    'CopyObject',
    'UploadPartCopy',
    'WriteGetObjectResponse',
  ]),
]
