/** One replica's copy of a row: absent, or a head and perhaps the body. */
export interface Copy {
  readonly node: string
  readonly head: Buffer | undefined
  readonly body: Buffer | undefined
  /** Whether the row has a body, also when it was not sent. */
  readonly hasBody: boolean
}

export interface PageRow {
  readonly sortKey: Buffer
  readonly head: Buffer
  readonly body: Buffer | undefined
  readonly hasBody: boolean
}

/** One replica's answer to a range query: rows in walking order, cut off at a limit of rows or bytes if `more`. */
export interface Page {
  readonly node: string
  readonly rows: readonly PageRow[]
  readonly more: boolean
}

export interface MergedRange {
  /** Keys in walking order, at most `limit`, each with one copy per page. */
  readonly keys: { readonly sortKey: Buffer; readonly copies: Copy[] }[]
  /** The last sort key all pages speak for; undefined when the range is exhausted. Go on after it. */
  readonly next: Buffer | undefined
}

/**
 * Merges the replicas' pages of one range. A page that was cut off says nothing about keys beyond its last one,
 * so the merge ends at the smallest such key (in walking order): beyond it some replica's rows are unknown.
 * A page with `more` must not be empty.
 */
export function mergePages(pages: readonly Page[], reverse: boolean, limit: number): MergedRange {
  const order = reverse ? (a: Buffer, b: Buffer) => b.compare(a) : (a: Buffer, b: Buffer) => a.compare(b)
  let bound: Buffer | undefined
  for (const page of pages) {
    if (!page.more) continue
    const last = page.rows.at(-1)!.sortKey
    if (!bound || order(last, bound) < 0) bound = last
  }
  const at = pages.map(() => 0)
  const keys: MergedRange['keys'] = []
  for (;;) {
    let least: Buffer | undefined
    for (let i = 0; i < pages.length; i++) {
      const row = pages[i]!.rows[at[i]!]
      if (row && (!least || order(row.sortKey, least) < 0)) least = row.sortKey
    }
    if (!least || (bound && order(least, bound) > 0)) return { keys, next: bound }
    if (keys.length >= limit) return { keys, next: keys.at(-1)!.sortKey }
    const sortKey = least
    const copies = pages.map((page, i): Copy => {
      const row = page.rows[at[i]!]
      if (!row?.sortKey.equals(sortKey))
        return { node: page.node, head: undefined, body: undefined, hasBody: false }
      at[i]!++
      return { node: page.node, head: row.head, body: row.body, hasBody: row.hasBody }
    })
    keys.push({ sortKey, copies })
  }
}

/** Whether all copies are the same bytes, or all are absent. */
export function allAgree(copies: readonly Pick<Copy, 'head'>[]): boolean {
  const first = copies[0]?.head
  for (let i = 1; i < copies.length; i++) {
    const head = copies[i]!.head
    if (first === undefined ? head !== undefined : !head?.equals(first)) return false
  }
  return true
}
