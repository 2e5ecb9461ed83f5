/** Condition keys of S3's that a request can have here, in lower case; those that end in "/" go on with a tag's name. */
const S3_KEYS: readonly string[] = [
  's3:authtype',
  's3:delimiter',
  's3:existingobjecttag/',
  's3:if-match',
  's3:if-none-match',
  's3:locationconstraint',
  's3:max-keys',
  's3:object-lock-legal-hold',
  's3:object-lock-mode',
  's3:object-lock-remaining-retention-days',
  's3:object-lock-retain-until-date',
  's3:objectcreationoperation',
  's3:prefix',
  's3:requestobjecttag/',
  's3:requestobjecttagkeys',
  's3:signatureage',
  's3:signatureversion',
  's3:tlsversion',
  's3:versionid',
  's3:x-amz-acl',
  's3:x-amz-content-sha256',
  's3:x-amz-copy-source',
  's3:x-amz-grant-full-control',
  's3:x-amz-grant-read',
  's3:x-amz-grant-read-acp',
  's3:x-amz-grant-write',
  's3:x-amz-grant-write-acp',
  's3:x-amz-metadata-directive',
  's3:x-amz-object-ownership',
  's3:x-amz-server-side-encryption',
  's3:x-amz-server-side-encryption-aws-kms-key-id',
  's3:x-amz-server-side-encryption-customer-algorithm',
  's3:x-amz-storage-class',
  's3:x-amz-website-redirect-location',
]

/** Keys about things that only exist at Amazon's: accepted, never there. */
const ABSENT_S3_KEYS: readonly string[] = [
  's3:accessgrantsinstancearn',
  's3:accesspointnetworkorigin',
  's3:dataaccesspointaccount',
  's3:dataaccesspointarn',
  's3:inventoryaccessibleoptionalfields',
  's3:jobsuspendedcause',
  's3:requestjoboperation',
  's3:requestjobpriority',
  's3:resourceaccount',
]

/** Whether a condition may use this key, in lower case. Of the global ones, those without a value here are never there. */
export function isConditionKey(key: string): boolean {
  if (/^(aws|ldap|jwt|saml|sts|cognito-identity\.amazonaws\.com|kms):[\w./@+=-]{1,256}$/.test(key))
    return true
  if (ABSENT_S3_KEYS.includes(key)) return true
  return S3_KEYS.some((known) =>
    known.endsWith('/') ? key.startsWith(known) && key.length > known.length : key === known,
  )
}

/** The aws:userid of callers who sign nothing. */
export const ANONYMOUS_USER_ID = 'anonymous'

/** Begins the keys that need the object's tags, which are known only after it was read. */
export const EXISTING_TAG = 's3:existingobjecttag/'
/** Begins the keys that need the tags that the request sets, which may be in its body. */
export const REQUEST_TAG = 's3:requestobjecttag'
/** Begins the keys that need the lock that the request sets, which may be in its body. */
export const REQUEST_LOCK = 's3:object-lock-'
/** The key that needs the body of CreateBucket. */
export const LOCATION = 's3:locationconstraint'
