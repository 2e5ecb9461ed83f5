import { K2vError } from 'carport/k2v'

/** All notes are items of this partition key; their sort keys are random. */
const LIST = 'notes'
const RETRY_MS = 2000
const decoder = new TextDecoder()

/**
 * A list of notes that is edited without a connection too.
 *
 * A note has what the server has told of it (`values`, `token`) and perhaps a `draft`: what was typed and not yet sent, null
 * for a deletion. A draft keeps the token of what was on the screen when it began (`draftToken`), so it replaces that alone:
 * what others wrote meanwhile stays beside it. Where a note has several values, their lines are shown together, and the next
 * edit replaces them all.
 */
export class Notes extends EventTarget {
  #k2v
  #storage
  #notes
  #seenMarker
  #pushing = Promise.resolve()
  #poll = new AbortController()

  /** @param storage keeps the notes of this tab through a reload: drafts would be lost otherwise */
  constructor(k2v, storage) {
    super()
    this.#k2v = k2v
    this.#storage = storage
    this.#notes = new Map(JSON.parse(storage.getItem(LIST) ?? '[]'))
  }

  /** The notes as they are shown: [id, text], without those that were deleted. */
  list() {
    return [...this.#notes].map(([id, note]) => [id, textOf(note)]).filter(([, text]) => text !== null)
  }

  /** How many drafts are not at the server yet. */
  get unsent() {
    return [...this.#notes.values()].filter(({ draft }) => draft !== undefined).length
  }

  /** Replaces a note's text; null deletes it. It is kept at once and sent when there is a connection. */
  edit(id, text) {
    const note = this.#notes.get(id) ?? { values: [] }
    const began = note.draft === undefined ? { draftToken: note.token } : {}
    this.#change(id, { ...note, ...began, draft: text })
    this.push().catch(() => {}) // run() tries again, and tells of what is wrong.
  }

  /** Sends what was typed; one call after the other. */
  push() {
    this.#pushing = this.#pushing.catch(() => {}).then(() => this.#push())
    return this.#pushing
  }

  /** Sends and receives for as long as the page is open. */
  async run() {
    addEventListener('offline', () => this.#poll.abort())
    for (;;) {
      if (!navigator.onLine)
        await new Promise((resolve) => addEventListener('online', resolve, { once: true }))
      try {
        await this.push()
        this.#poll = new AbortController()
        const options = { seenMarker: this.#seenMarker, signal: this.#poll.signal }
        const changes = await this.#k2v.pollRange(LIST, options)
        if (changes) this.#receive(changes)
        this.#tell('')
      } catch (error) {
        if (!navigator.onLine) continue
        this.#tell(error.message)
        // A wrong key or a wrong rule of the bucket does not become right by itself.
        if (error instanceof K2vError && !error.isTransient) throw error
        const seconds = error.retryAfterSeconds
        await new Promise((resolve) => setTimeout(resolve, seconds === undefined ? RETRY_MS : seconds * 1000))
      }
    }
  }

  async #push() {
    const drafts = [...this.#notes].filter(([, { draft }]) => draft !== undefined)
    if (drafts.length === 0 || !navigator.onLine) return
    await this.#k2v.insertBatch(
      drafts.map(([sortKey, { draft, draftToken }]) => {
        return { partitionKey: LIST, sortKey, value: draft, token: draftToken }
      }),
    )
    // The tokens of what is stored now: without them the next draft would stand beside this one.
    const results = await this.#k2v.readBatch(
      drafts.map(([start]) => ({ partitionKey: LIST, start, singleItem: true, tombstones: true })),
    )
    for (const [i, [id, { draft: sent }]] of drafts.entries()) {
      const [item] = results[i].items
      if (!item) continue
      const { draft } = this.#notes.get(id)
      const stored = storedOf(item)
      if (draft === sent) {
        this.#change(id, stored)
        continue
      }
      // Typing went on meanwhile: the draft takes in what others wrote, since the new token stands for that too.
      const others = stored.values.filter((value) => value !== sent)
      this.#change(id, { ...stored, draft: merge([draft, ...others]), draftToken: stored.token })
    }
  }

  #receive({ items, seenMarker }) {
    this.#seenMarker = seenMarker
    for (const item of items) {
      const { draft, draftToken } = this.#notes.get(item.sortKey) ?? {}
      const unsent = draft === undefined ? {} : { draft, draftToken }
      this.#change(item.sortKey, { ...storedOf(item), ...unsent })
    }
  }

  #change(id, note) {
    this.#notes.set(id, note)
    this.#storage.setItem(LIST, JSON.stringify([...this.#notes]))
    this.dispatchEvent(new Event('change'))
  }

  #tell(message) {
    this.dispatchEvent(new CustomEvent('state', { detail: message }))
  }
}

function storedOf({ values, token }) {
  return { token, values: values.map((value) => (value === null ? null : decoder.decode(value))) }
}

function textOf({ draft, values }) {
  return draft === undefined ? merge(values) : draft
}

/** All lines of several texts, each once. A deletion loses against a text: nothing that somebody wrote disappears. */
function merge(values) {
  const texts = values.filter((value) => value !== null)
  return texts.length === 0 ? null : [...new Set(texts.flatMap((text) => text.split('\n')))].join('\n')
}
