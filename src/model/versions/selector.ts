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

/** What selects a version of its key. */
export function selectorOf({ id, isNull }: Pick<VersionRecord, 'id' | 'isNull'>): 'null' | VersionId {
  return isNull ? 'null' : id
}

/**
 * What reads of the version table add to find a version also where the current row has not arrived: there, the version that it
 * replaced is still on its way. But a null version that another one replaces goes: it is on no way.
 */
export function onItsWay(
  current: VersionRecord | undefined,
  selector: 'null' | VersionId,
): { replacedBy?: Buffer } {
  if (!current || (selector === 'null' && current.isNull)) return {}
  return { replacedBy: current.id }
}

/** Whether a current row is the selected version. */
export function matches(current: VersionRecord | undefined, selector: 'null' | VersionId): boolean {
  if (!current || current.state === 'tombstone') return false
  return selector === 'null' ? current.isNull : current.id.equals(selector) && !current.isNull
}

export function tooManyAttempts(): CarportError {
  return new CarportError('Conflict', 'other writers of the same key kept being later')
}
