/**
 * Matching of texts that come from outside against patterns with `*` and `?`, in time linear in the text. The text
 * between two stars is a piece; pieces are found from left to right, each at its first place after the one before,
 * so that no character of the text is searched twice.
 */

/** Counts comparisons of characters, for tests that bound them. */
export interface Steps {
  count: number
}

/** The text between two stars. */
export interface Piece {
  /** With any character where `anyAt` has its place. */
  readonly text: string
  /** Places in `text` that match every character, ascending. */
  readonly anyAt: readonly number[]
}

/** Of these lengths on, String.indexOf may cost the product of both lengths. */
const INDEX_OF_LENGTH_MAX = 6
const WORD_BITS = 32

/** Collects a pattern's pieces. */
export class GlobBuilder {
  readonly #pieces: Piece[] = []
  #text = ''
  #anyAt: number[] = []
  #length = 0

  /** Characters of all pieces: no shorter text can match. */
  get length(): number {
    return this.#length
  }

  literal(text: string): this {
    this.#text += text
    this.#length += text.length
    return this
  }

  /** Any one character. */
  one(): this {
    this.#anyAt.push(this.#text.length)
    return this.literal('?')
  }

  /** Any text, also none. */
  star(): this {
    this.#pieces.push({ text: this.#text, anyAt: this.#anyAt })
    this.#text = ''
    this.#anyAt = []
    return this
  }

  build(): Glob {
    this.star()
    return new Glob(this.#pieces, this.#length)
  }
}

/** A pattern without variables. */
export class Glob {
  readonly #finders = new Map<Piece, Finder>()

  /**
   * @param pieces at least one; between each two there is a star
   * @param length characters of all pieces
   */
  constructor(
    readonly pieces: readonly Piece[],
    private readonly length: number,
  ) {}

  /** The only text that it matches; undefined if there are others. */
  get fixed(): string | undefined {
    const [first] = this.pieces
    return this.pieces.length === 1 && first!.anyAt.length === 0 ? first!.text : undefined
  }

  /** Whether the whole of `text` matches: at most two steps a character, one for each 32 of a piece with `?`. */
  test(text: string, steps?: Steps): boolean {
    const { pieces } = this
    const first = pieces[0]!
    if (text.length < this.length || !isAt(first, text, 0, steps)) return false
    if (pieces.length === 1) return text.length === this.length
    const last = pieces.at(-1)!
    const end = text.length - last.text.length
    if (!isAt(last, text, end, steps)) return false
    let from = first.text.length
    for (let i = 1; i < pieces.length - 1; i++) {
      const piece = pieces[i]!
      if (piece.text === '') continue
      const at = this.#find(piece, text, from, end, steps)
      if (at < 0) return false
      from = at + piece.text.length
    }
    return true
  }

  #find(piece: Piece, text: string, from: number, end: number, steps: Steps | undefined): number {
    if (piece.anyAt.length === 0 && piece.text.length <= INDEX_OF_LENGTH_MAX) {
      const at = text.indexOf(piece.text, from)
      if (steps) steps.count += ((at < 0 ? text.length : at) - from + 1) * piece.text.length
      return at + piece.text.length > end ? -1 : at
    }
    let finder = this.#finders.get(piece)
    if (!finder) {
      finder = piece.anyAt.length === 0 ? literalFinder(piece.text) : wildFinder(piece)
      this.#finders.set(piece, finder)
    }
    return finder(text, from, end, steps)
  }
}

/** The first place from `from` on where a piece stands and ends by `end`; -1 if there is none. */
type Finder = (text: string, from: number, end: number, steps: Steps | undefined) => number

function isAt({ text: wanted, anyAt }: Piece, text: string, at: number, steps: Steps | undefined): boolean {
  if (steps) steps.count += wanted.length
  if (anyAt.length === 0) return text.startsWith(wanted, at)
  let from = 0
  for (const place of [...anyAt, wanted.length]) {
    if (!text.startsWith(wanted.slice(from, place), at + from)) return false
    from = place + 1
  }
  return true
}

/** The algorithm of Knuth, Morris and Pratt: never goes back in the text. */
function literalFinder(wanted: string): Finder {
  // Of each place: how much of the beginning of `wanted` ends there.
  const borders = new Uint32Array(wanted.length)
  for (let i = 1, length = 0; i < wanted.length; ) {
    if (wanted.charCodeAt(i) === wanted.charCodeAt(length)) borders[i++] = ++length
    else if (length > 0) length = borders[length - 1]!
    else i++
  }
  return (text, from, end, steps) => {
    let matched = 0
    let at = from
    let count = 0
    for (; at < end && matched < wanted.length; count++) {
      if (text.charCodeAt(at) === wanted.charCodeAt(matched)) {
        at++
        matched++
      } else if (matched > 0) matched = borders[matched - 1]!
      else at++
    }
    if (steps) steps.count += count
    return matched === wanted.length ? at - matched : -1
  }
}

/**
 * Shift-and (Baeza-Yates and Gonnet), since the borders of Knuth, Morris and Pratt do not exist for pieces with `?`.
 * One bit for each place of the piece says whether the text so far ends with the piece up to there.
 */
function wildFinder({ text: wanted, anyAt }: Piece): Finder {
  const words = Math.ceil(wanted.length / WORD_BITS)
  const others = new Uint32Array(words)
  for (const place of anyAt) others[place >> 5]! |= 1 << (place & 31)
  const masks = new Map<number, Uint32Array>()
  const isAny = new Set(anyAt)
  for (let i = 0; i < wanted.length; i++) {
    if (isAny.has(i)) continue
    const code = wanted.charCodeAt(i)
    let mask = masks.get(code)
    if (!mask) {
      mask = Uint32Array.from(others)
      masks.set(code, mask)
    }
    mask[i >> 5]! |= 1 << (i & 31)
  }
  const lastWord = (wanted.length - 1) >> 5
  const lastBit = 1 << ((wanted.length - 1) & 31)
  return (text, from, end, steps) => {
    const state = new Uint32Array(words)
    for (let at = from; at < end; at++) {
      const mask = masks.get(text.charCodeAt(at)) ?? others
      let carry = 1
      for (let word = 0; word < words; word++) {
        const bits = state[word]!
        state[word] = ((bits << 1) | carry) & mask[word]!
        carry = bits >>> 31
      }
      if (steps) steps.count += words
      if ((state[lastWord]! & lastBit) !== 0) return at + 1 - wanted.length
    }
    return -1
  }
}
