import { encodeUri, readAll, type S3Client, StoreError } from '../api/client/s3-client.js'
import type { SourceBucket, SourceKey } from './admin-source.js'
import { type BucketRights, createsBuckets, type PolicyDocument, rightsIn } from './minio-policy.js'
import { type BucketStatement, statementsIn, withPrincipals } from './minio-statements.js'
import type { Report } from './report.js'
import { bucketsOf, type Route } from './routes.js'
import { unzip } from './zip.js'

/** The bucket in whose place MinIO has its admin API, and the path of that. */
const ADMIN = 'minio'
const ADMIN_PATH = 'admin/v3'
const EXPORT_BYTES_MAX = 256 << 20

/** Somebody who may sign requests there. */
interface Account {
  accessKeyId: string
  secret: string
  name: string
  expiration: string | null
  /** The value of the policy variable aws:username: the user's name, also for its access keys. */
  username: string
  /** Each holds by itself: what a service account may do, its parent must be allowed as well. */
  policies: PolicyDocument[][]
}

interface ServiceAccount {
  parent?: string
  secretKey?: string
  status?: string
  name?: string
  expiration?: string
  sessionPolicy?: PolicyDocument | null
}

type Table<T> = Record<string, T>

const ALL: PolicyDocument = {
  Statement: [{ Effect: 'Allow', Action: ['s3:*'], Resource: ['arn:aws:s3:::*'] }],
}

/**
 * What MinIO's admin API tells of its users, service accounts and quotas, with the key of an administrator: each becomes a
 * key with the permissions that it has for whole buckets, and what is finer statements of the buckets' policies, as far as these say
 * the same. The rest is named in the report; nothing gets more than it had.
 * @throws StoreError if the admin API refuses
 */
export async function fromMinio(
  client: S3Client,
  report: Report,
): Promise<{ keys: SourceKey[]; routes: Route[] }> {
  const accounts = await accountsOf(client, report)
  const routes = await bucketsOf(client)
  const facts = new Map<string, SourceBucket>()
  for (const { label } of routes) {
    const keys: SourceBucket['keys'] = []
    const statements: { accessKeyId: string; statement: BucketStatement }[] = []
    for (const account of accounts) {
      const { accessKeyId, name, policies, username } = account
      const rights = rightsOf(account, label)
      const finer = statementsIn(policies, label, username, rights)
      statements.push(...finer.statements.map((statement) => ({ accessKeyId, statement })))
      if (!finer.isWhole)
        report.notCarried.add(
          `a part of what ${name} may do in ${label}, which a policy of a bucket cannot say in the same way: look at its policies`,
        )
      if (!rights.read && !rights.write && !rights.owner) continue
      keys.push({ accessKeyId, name, permissions: rights, bucketLocalAliases: [] })
    }
    facts.set(label, {
      ...{ id: '', globalAliases: [label], websiteAccess: false, websiteConfig: null, keys },
      ...{ corsRules: null, lifecycleRules: null, quotas: await quotaOf(client, label) },
      ...(statements.length > 0 && { statements: withPrincipals(statements) }),
    })
  }
  return {
    keys: accounts.map(({ accessKeyId, secret, name, expiration, policies }) => ({
      ...{ accessKeyId, name, secretAccessKey: secret, expiration, expired: false },
      permissions: { createBucket: policies.every(createsBuckets) },
    })),
    routes: routes.map((route) => ({ ...route, facts: facts.get(route.label)!, rulesByS3: true })),
  }
}

function rightsOf({ policies }: Account, bucket: string): BucketRights {
  const all = policies.map((documents) => rightsIn(documents, bucket))
  const has = (name: keyof BucketRights) => all.every((rights) => rights[name])
  return { read: has('read'), write: has('write'), owner: has('owner') }
}

async function accountsOf(client: S3Client, report: Report): Promise<Account[]> {
  const files = unzip(await read(client, 'export-iam'), EXPORT_BYTES_MAX)
  const table = <T>(name: string) => {
    const text = files.get(`iam-assets/${name}.json`)?.toString()
    return (text === undefined ? {} : (JSON.parse(text) ?? {})) as Table<T>
  }
  const documents = table<PolicyDocument>('policies')
  const mapped = (all: Table<{ policy?: string }>, name: string) =>
    (all[name]?.policy ?? '').split(',').flatMap((policy) => documents[policy.trim()] ?? [])
  const users = table<{ secretKey?: string; status?: string }>('users')
  const [ofUsers, ofGroups] = [
    table<{ policy?: string }>('user_mappings'),
    table<{ policy?: string }>('group_mappings'),
  ]
  const groups = Object.entries(table<{ status?: string; members?: string[] }>('groups'))
  const policiesOf = (user: string) => [
    ...mapped(ofUsers, user),
    ...groups.flatMap(([group, { status, members = [] }]) =>
      status !== 'disabled' && members?.includes(user) ? mapped(ofGroups, group) : [],
    ),
  ]
  const { accessKeyId: root, secret } = client.at.credentials
  const isRoot = users[root] === undefined
  const accounts: Account[] = []
  if (isRoot)
    accounts.push({
      accessKeyId: root,
      secret,
      name: 'MinIO administrator',
      username: root,
      expiration: null,
      policies: [[ALL]],
    })
  for (const [user, { secretKey, status }] of Object.entries(users)) {
    if (status === 'disabled' || !secretKey) report.notCarried.add(`user ${user}: it is disabled`)
    else
      accounts.push({
        ...{ accessKeyId: user, secret: secretKey, name: user, username: user, expiration: null },
        policies: [policiesOf(user)],
      })
  }
  for (const [id, account] of Object.entries(table<ServiceAccount>('svcaccts'))) {
    const { parent = '', secretKey, status, name, expiration, sessionPolicy } = account
    const parents = isRoot && parent === root ? [ALL] : users[parent] ? policiesOf(parent) : undefined
    const isOff = status === 'off' || status === 'disabled' || users[parent]?.status === 'disabled'
    if (!secretKey || !parents || isOff) {
      report.notCarried.add(`access key ${id} of ${parent}: it is disabled, or its user is not MinIO's own`)
      continue
    }
    const hasOwn = (sessionPolicy?.Statement?.length ?? 0) > 0
    accounts.push({
      ...{ accessKeyId: id, secret: secretKey, name: name || `${parent} ${id}`, username: parent },
      // MinIO has the beginning of time for "never".
      expiration: expiration && Date.parse(expiration) > 0 ? expiration : null,
      policies: [parents, ...(hasOwn ? [[sessionPolicy!]] : [])],
    })
  }
  return accounts
}

/** The limit of a bucket's size, if it has one. */
async function quotaOf(client: S3Client, bucket: string): Promise<SourceBucket['quotas']> {
  const text = (await read(client, 'get-bucket-quota', { bucket })).toString()
  const { size = 0, quota = 0 } = (text === '' ? {} : JSON.parse(text)) as { size?: number; quota?: number }
  return { maxSize: size || quota || null, maxObjects: null }
}

async function read(client: S3Client, call: string, query: Record<string, string> = {}): Promise<Buffer> {
  try {
    const answer = await client.call({ method: 'GET', bucket: ADMIN, key: `${ADMIN_PATH}/${call}`, query })
    return await readAll(answer.body, EXPORT_BYTES_MAX)
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    const hint = error.status === 403 ? ': it asks for the key of an administrator' : ''
    throw new StoreError(
      error.code,
      `MinIO's admin API refuses ${encodeUri(call)} (${error.code})${hint}`,
      error.status,
    )
  }
}
