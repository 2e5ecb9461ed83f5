import { CarportError } from '../../util/errors.js'
import type { VersionId } from '../content/refs.js'
import type { VersionRecord } from './record.js'

/** Which version a request means: the current one, the null version, or the one with that id. */
export type VersionSelector = undefined | 'null' | VersionId

/** How often a write starts over because others were later: more means a clock far off or a hot key. */
export const MAX_ATTEMPTS = 20

/** The version unless it is a tombstone. */
export function live(version: VersionRecord | undefined): VersionRecord | undefined {
  return version === undefined || version.state === 'tombstone' ? undefined : version
}

/** Whether a current row is the selected version. */
export function matches(current: VersionRecord | undefined, selector: 'null' | VersionId): boolean {
  if (!current || current.state === 'tombstone') return false
  return selector === 'null' ? current.isNull : current.id.equals(selector) && !current.isNull
}

export function tooManyAttempts(): CarportError {
  return new CarportError('Conflict', 'other writers of the same key kept being later')
}
