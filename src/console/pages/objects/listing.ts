import { type Accessor, createEffect, createSignal, on, onCleanup, untrack } from 'solid-js'
import { explain } from '../../net/errors'
import { session } from '../../session'
import { Parts } from './parts'
import { type Asked, type Entry, type Marker, readPart } from './read-part'

/** Rows that are read ahead of those in sight. */
const AHEAD_ROWS = 500

/** A listing of any length, which is read where one looks. */
export function createListing(asked: Accessor<Asked>) {
  let parts = new Parts<Entry, Marker>()
  let sight = { first: 0, last: 0 }
  let abort: AbortController | undefined
  /** Changes with every change of the parts. */
  const [changes, setChanges] = createSignal(0)
  const [isLoading, setLoading] = createSignal(false)
  const [isStopped, setStopped] = createSignal(false)
  const [failure, setFailure] = createSignal<string>()
  /** Names that were looked at for a part that is not complete yet. */
  const [reading, setReading] = createSignal(0)
  const changed = () => setChanges((before) => before + 1)

  /** Reads what is wanted, one part at a time, until nothing is. */
  const pump = async () => {
    if (abort || untrack(failure) !== undefined || untrack(isStopped)) return
    const mine = new AbortController()
    abort = mine
    setLoading(true)
    try {
      for (;;) {
        const place = parts.wanted(sight.first, sight.last, AHEAD_ROWS)
        if (!place || untrack(isStopped)) break
        const isNew = parts.isTail(place)
        const read = await readPart(untrack(asked), place.marker, mine.signal, (names) => {
          if (isNew && abort === mine) setReading(names)
        })
        if (abort !== mine) return
        parts.put(place, read)
        setReading(0)
        parts.drop(sight.first, sight.last)
        changed()
      }
    } catch (error) {
      if (abort === mine) setFailure(explain(error))
    } finally {
      if (abort === mine) {
        abort = undefined
        setLoading(false)
      }
    }
  }
  const halt = () => {
    abort?.abort()
    abort = undefined
    setLoading(false)
    setReading(0)
  }
  const restart = () => {
    halt()
    setFailure(undefined)
    setStopped(false)
    void pump()
  }
  createEffect(
    on(
      () => JSON.stringify(asked()),
      () => {
        parts = new Parts()
        sight = { first: 0, last: 0 }
        changed()
        restart()
      },
    ),
  )
  // Who signed in again goes on where the listing broke off.
  createEffect(on(session, () => untrack(failure) !== undefined && restart(), { defer: true }))
  onCleanup(halt)

  const read = <T>(value: () => T) => {
    changes()
    return value()
  }
  return {
    total: () => read(() => parts.total),
    /** Whether there is more than `total`. */
    hasMore: () => read(() => parts.hasMore),
    /** The entry of a row; undefined until it is read. */
    at: (row: number) => read(() => parts.at(row)),
    /** How many names were looked through for a search. */
    seen: () => read(() => parts.seen) + reading(),
    ...{ isLoading, failure, isStopped },
    /** Tells which rows are in sight: they are read, and those far away forgotten. */
    show(first: number, last: number) {
      sight = { first, last }
      void pump()
    },
    /** Reads anew what is in sight, which is shown until then. */
    reload() {
      parts.outdate()
      changed()
      restart()
    },
    /** Ends a search that goes on. */
    stop() {
      halt()
      setStopped(true)
    },
    resume: restart,
  }
}

export type Listing = ReturnType<typeof createListing>
