import type { VersionSelector } from '../../model/versions/objects.js'
import type { VersionRecord } from '../../model/versions/record.js'
import { S3Error } from './errors.js'
import type { S3Request } from './request.js'

/**
 * The version that ?versionId names.
 * @throws S3Error InvalidArgument if it cannot be a version id
 */
export function versionSelector(request: S3Request): VersionSelector {
  return parseVersionId(request.query.get('versionId'))
}

/** Parses a version id as clients see it; undefined stands for the current version. @throws S3Error InvalidArgument */
export function parseVersionId(text: string | undefined): VersionSelector {
  if (text === undefined) return undefined
  if (text === 'null') return 'null'
  if (!/^[0-9a-f]{32}$/.test(text)) {
    throw new S3Error('InvalidArgument', 'Invalid version id specified', {
      extra: { ArgumentName: 'versionId', ArgumentValue: text },
    })
  }
  return Buffer.from(text, 'hex')
}

/** The name of the action: `current` without a versionId in the request, else `named`. */
export function versioned(request: S3Request, current: string, named: string): string {
  return request.query.has('versionId') ? named : current
}

/** The x-amz-version-id header, if versioning was on at some time. */
export function versionIdHeader(versioning: string, version: VersionRecord): Record<string, string> {
  return versioning === 'off' ? {} : { 'x-amz-version-id': versionIdText(version) }
}

/** A version id as clients see it. */
export function versionIdText(version: Pick<VersionRecord, 'id' | 'isNull'>): string {
  return version.isNull ? 'null' : version.id.toString('hex')
}
