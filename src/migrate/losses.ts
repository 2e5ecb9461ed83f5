import type { BucketState } from './bucket-settings.js'
import type { MigrationOptions } from './options.js'
import type { Report } from './report.js'

/** Tells what of a bucket cannot be carried, as far as that follows from the two kinds of store. */
export function tellLosses(
  { notCarried }: Report,
  { direction, other, own, k2v }: MigrationOptions,
  label: string,
  { versioning }: BucketState,
): void {
  const isOut = direction === 'out'
  if (other.kind === 'folder') {
    if (!isOut) return
    notCarried.add(`headers, metadata, tags and settings of ${label}: a folder keeps content and times`)
    if (versioning) notCarried.add(`versions of ${label} but the current ones: a folder has none`)
    if (own.hasK2v) notCarried.add('K2V items: a folder has no place for them')
    return
  }
  if (versioning) notCarried.add(`version ids in ${label}: copies get new ones, in the same order`)
  if (!isOut) return
  notCarried.add('keys, their permissions, quotas and further names of buckets: S3 cannot carry them')
  if (own.hasK2v && !k2v)
    notCarried.add('K2V items: they are written where --k2v names the K2V API of the destination')
}

/** Tells that the destination says its own times of what is written to it. */
export function tellUntimed({ notCarried }: Report, label: string): void {
  notCarried.add(
    `Last-Modified of objects in ${label}: only another Carport takes it, from a key that owns the bucket`,
  )
}
