/** Locks of versions of objects: retention until a time, and legal holds. */
import { ApiError } from './errors'
import { checksum, s3, s3Xml, textOf } from './s3'

export type RetentionMode = 'GOVERNANCE' | 'COMPLIANCE'

export interface Retention {
  readonly mode: RetentionMode
  /** In ISO 8601. */
  readonly until: string
}

/** What keeps a version from being deleted. */
export interface Locks {
  /** Whether the bucket has object lock: without it, nothing can be locked. */
  readonly isOffered: boolean
  readonly retention: Retention | undefined
  readonly legalHold: boolean
}

/** A version of an object; the current one without an id. */
export interface VersionName {
  readonly bucket: string
  readonly key: string
  readonly versionId?: string | undefined
}

const NONE: Locks = { isOffered: false, retention: undefined, legalHold: false }

/** @throws ApiError */
export async function locksOf(version: VersionName): Promise<Locks> {
  try {
    const [retention, hold] = await Promise.all([ask(version, 'retention'), ask(version, 'legal-hold')])
    return {
      isOffered: true,
      retention: retention && {
        mode: textOf(retention, 'Mode') as RetentionMode,
        until: textOf(retention, 'RetainUntilDate'),
      },
      legalHold: hold !== undefined && textOf(hold, 'Status') === 'ON',
    }
  } catch (error) {
    if (error instanceof ApiError && error.code === 'InvalidRequest') return NONE
    throw error
  }
}

/**
 * Sets the retention, or ends it.
 * @param bypass shortens or ends retention in governance mode, for those who may
 * @throws ApiError
 */
export async function setRetention(
  version: VersionName,
  retention: Retention | undefined,
  bypass: boolean,
): Promise<void> {
  const { mode, until } = retention ?? {}
  const body = retention
    ? `<Retention><Mode>${mode}</Mode><RetainUntilDate>${until}</RetainUntilDate></Retention>`
    : '<Retention/>'
  await put(version, 'retention', body, bypass ? BYPASS : {})
}

/** @throws ApiError */
export async function setLegalHold(version: VersionName, isOn: boolean): Promise<void> {
  await put(version, 'legal-hold', `<LegalHold><Status>${isOn ? 'ON' : 'OFF'}</Status></LegalHold>`, {})
}

/** Asks to pass over retention in governance mode. */
export const BYPASS = { 'x-amz-bypass-governance-retention': 'true' }

async function ask({ bucket, key, versionId }: VersionName, what: string): Promise<Element | undefined> {
  try {
    const query = { [what]: '', ...(versionId !== undefined && { versionId }) }
    return (await s3Xml({ bucket, key, query })).documentElement
  } catch (error) {
    if (error instanceof ApiError && error.code === 'NoSuchObjectLockConfiguration') return undefined
    throw error
  }
}

async function put(
  { bucket, key, versionId }: VersionName,
  what: string,
  body: string,
  headers: Readonly<Record<string, string>>,
): Promise<void> {
  const query = { [what]: '', ...(versionId !== undefined && { versionId }) }
  await s3({ method: 'PUT', bucket, key, query, body, headers: { ...checksum(body), ...headers } })
}
