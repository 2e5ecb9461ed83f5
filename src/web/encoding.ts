/** Codings of files that were compressed beforehand, in the order in which they are preferred, and how their keys end. */
export const CODINGS = [
  ['br', '.br'],
  ['zstd', '.zst'],
  ['gzip', '.gz'],
] as const

export type Coding = (typeof CODINGS)[number][0]

/** Most items of Accept-Encoding that are looked at. */
const ITEMS_MAX = 32
const NONE: readonly Coding[] = []

/** Files that compress: for these alone compressed siblings are looked for. */
const COMPRESSIBLE =
  /\.(html?|xhtml|css|m?js|cjs|map|json|jsonld|geojson|webmanifest|xml|rss|atom|svg|txt|md|csv|ics|wasm|ttf|otf|eot|ico|bmp|pdf)$/i

/** Whether a file of that key may have compressed siblings. */
export function mayBeCompressed(key: string): boolean {
  return COMPRESSIBLE.test(key)
}

/**
 * The codings that an Accept-Encoding header takes (RFC 9110, section 12.5.3), the preferred one first. Those that are
 * less wanted than the plain file are left out.
 */
export function acceptedCodings(header: string | undefined): readonly Coding[] {
  if (header === undefined || header === '') return NONE
  const weights = new Map<string, number>()
  for (const item of header.split(',', ITEMS_MAX)) {
    const [name = '', ...parameters] = item.toLowerCase().split(';')
    const q = parameters.map((text) => /^\s*q=([01](?:\.\d{0,3})?)\s*$/.exec(text)?.[1]).find(Boolean)
    const coding = name.trim()
    weights.set(coding === 'x-gzip' ? 'gzip' : coding, q === undefined ? 1 : Number(q))
  }
  const plain = weights.get('identity') ?? 0
  const weightOf = (coding: string) => weights.get(coding) ?? weights.get('*') ?? 0
  const accepted = CODINGS.map(([coding]) => coding).filter(
    (coding) => weightOf(coding) > 0 && weightOf(coding) >= plain,
  )
  return accepted.sort((a, b) => weightOf(b) - weightOf(a))
}
