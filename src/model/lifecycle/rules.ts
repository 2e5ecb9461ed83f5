/**
 * Lifecycle rules of buckets: what they are, and what they say of a version or an upload at a time. Nothing here reads or
 * writes anything.
 */

/** The objects that a rule applies to. All conditions that are given must hold. */
export interface LifecycleFilter {
  prefix?: string
  tags?: [key: string, value: string][]
  /** Bytes; both exclusive. */
  sizeGreaterThan?: number
  sizeLessThan?: number
}

/** One rule of the document "lifecycle". */
export interface LifecycleRule {
  id: string
  enabled: boolean
  filter: LifecycleFilter
  /** How the filter was written, to be shown so again: the older Prefix element, a Filter, and one with And in it. */
  form: 'prefix' | 'filter' | 'and' | 'both'
  /** With form 'both': the part of the filter that stood beside And. */
  beside?: LifecycleFilter
  /** Of current versions; one of the three. */
  expiration?: { days?: number; dateMs?: number; expiredDeleteMarker?: boolean }
  /** Of noncurrent versions: after days of that, and only those with at least so many newer noncurrent ones. */
  noncurrent?: { days?: number; newerVersions?: number }
  abortUploadDays?: number
}

/** How rules count days. */
export interface LifecycleCalendar {
  dayMs: number
  /** The time to which the end of an age is rounded up, in ms since the epoch: midnight, or nothing in tests. */
  roundUp(ms: number): number
}

const DAY_MS = 24 * 3600_000

/** Days of 24 hours that end at midnight UTC, as AWS counts them. */
export const UTC_CALENDAR: LifecycleCalendar = {
  dayMs: DAY_MS,
  roundUp: (ms) => Math.ceil(ms / DAY_MS) * DAY_MS,
}

/** Days of another length, counted from the moment: for tests that cannot wait. */
export function shortCalendar(dayMs: number): LifecycleCalendar {
  return { dayMs, roundUp: (ms) => ms }
}

/** The properties of a version on which rules depend. */
export interface VersionFacts {
  key: string
  kind: 'object' | 'marker'
  size: number
  tags: Readonly<Record<string, string>> | undefined
  createdMs: number
  /** Of the current version: whether there are noncurrent ones (asked of markers only). */
  current?: { hasNoncurrent: boolean }
  /** Of a noncurrent version: when its successor was made, and how many noncurrent versions are newer. */
  noncurrent?: { sinceMs: number; newerVersions: number }
}

/**
 * expire: the current version goes: for good where versioning was never on, else behind a delete marker.
 * delete: this one version goes for good.
 */
export type LifecycleVerdict = { action: 'expire' | 'delete'; ruleId: string } | undefined

/** The rules' verdict on a version at a time; undefined: it stays. */
export function evaluate(
  rules: readonly LifecycleRule[],
  version: VersionFacts,
  nowMs: number,
  calendar: LifecycleCalendar = UTC_CALENDAR,
): LifecycleVerdict {
  for (const rule of rules) {
    if (!rule.enabled || !fits(rule, version)) continue
    const due = version.noncurrent
      ? noncurrentDueMs(rule, version.noncurrent, calendar)
      : currentDueMs(rule, version, calendar)
    if (due === undefined || due > nowMs) continue
    return { action: version.noncurrent || version.kind === 'marker' ? 'delete' : 'expire', ruleId: rule.id }
  }
  return undefined
}

/** When a current object expires, and by which rule: the earliest one. For the x-amz-expiration header. */
export function expiryOf(
  rules: readonly LifecycleRule[],
  version: VersionFacts,
  calendar: LifecycleCalendar = UTC_CALENDAR,
): { atMs: number; ruleId: string } | undefined {
  let earliest: { atMs: number; ruleId: string } | undefined
  for (const rule of rules) {
    if (!rule.enabled || !fits(rule, version)) continue
    const atMs = currentDueMs(rule, version, calendar)
    if (atMs !== undefined && (!earliest || atMs < earliest.atMs)) earliest = { atMs, ruleId: rule.id }
  }
  return earliest
}

/** When the rules end an upload that was begun at `startedMs`; undefined: never. */
export function uploadDueMs(
  rules: readonly LifecycleRule[],
  upload: { key: string; startedMs: number },
  calendar: LifecycleCalendar = UTC_CALENDAR,
): number | undefined {
  let earliest: number | undefined
  for (const { enabled, filter, abortUploadDays } of rules) {
    if (!enabled || abortUploadDays === undefined || !upload.key.startsWith(filter.prefix ?? '')) continue
    const due = calendar.roundUp(upload.startedMs + abortUploadDays * calendar.dayMs)
    if (earliest === undefined || due < earliest) earliest = due
  }
  return earliest
}

/** Which walks a bucket's rules ask for. */
export function walksOf(rules: readonly LifecycleRule[]): {
  current: boolean
  noncurrent: boolean
  uploads: boolean
} {
  const enabled = rules.filter((rule) => rule.enabled)
  return {
    current: enabled.some((rule) => rule.expiration),
    noncurrent: enabled.some((rule) => rule.noncurrent),
    uploads: enabled.some((rule) => rule.abortUploadDays !== undefined),
  }
}

/** Whether a version must not be deleted at that time: object lock. */
export function isLocked(
  mutable: {
    retention?: readonly [number, { untilMs: number } | null]
    legalHold?: readonly [number, boolean]
  },
  nowMs: number,
): boolean {
  return mutable.legalHold?.[1] === true || (mutable.retention?.[1]?.untilMs ?? 0) > nowMs
}

function fits({ filter }: LifecycleRule, version: VersionFacts): boolean {
  if (filter.prefix !== undefined && !version.key.startsWith(filter.prefix)) return false
  const { sizeGreaterThan, sizeLessThan, tags } = filter
  // Delete markers have neither size nor tags: rules that ask for them are not about markers.
  if (version.kind === 'marker') {
    return sizeGreaterThan === undefined && sizeLessThan === undefined && (tags ?? []).length === 0
  }
  if (sizeGreaterThan !== undefined && version.size <= sizeGreaterThan) return false
  if (sizeLessThan !== undefined && version.size >= sizeLessThan) return false
  for (const [key, value] of tags ?? []) {
    if (!version.tags || !Object.hasOwn(version.tags, key) || version.tags[key] !== value) return false
  }
  return true
}

function currentDueMs(
  { expiration }: LifecycleRule,
  version: VersionFacts,
  calendar: LifecycleCalendar,
): number | undefined {
  if (!expiration) return undefined
  if (version.kind === 'marker') {
    // A marker that hides something is what keeps it hidden.
    if (version.current?.hasNoncurrent !== false) return undefined
    if (expiration.expiredDeleteMarker) return 0
  }
  if (expiration.dateMs !== undefined) return expiration.dateMs
  if (expiration.days !== undefined) {
    return calendar.roundUp(version.createdMs + expiration.days * calendar.dayMs)
  }
  return undefined
}

function noncurrentDueMs(
  { noncurrent }: LifecycleRule,
  state: { sinceMs: number; newerVersions: number },
  calendar: LifecycleCalendar,
): number | undefined {
  if (!noncurrent || state.newerVersions < (noncurrent.newerVersions ?? 0)) return undefined
  return calendar.roundUp(state.sinceMs + (noncurrent.days ?? 0) * calendar.dayMs)
}
