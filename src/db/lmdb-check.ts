import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { CarportError } from '../util/errors.js'
import { PAGE_BYTES } from './lmdb-room.js'

/*
 * What is checked of LMDB's file before it is mapped: LMDB believes what it reads, and a file that is cut short or holds
 * something else would end the process by a signal. The format (numbers are little endian on all machines that are
 * supported): each page has a head of 24 bytes, with its number (u64 at 0), flags (u16 at 18), and, for the pages of
 * trees, where the list of entries ends and the entries begin (u16 at 20 and 22, counted from the head's end). Pages 0
 * and 1 are meta pages, of which the one with the greater number of a transaction counts.
 */
const HEAD_BYTES = 24
const FLAGS_AT = 18
const LIST_END_AT = 20
const ENTRIES_AT = 22
const IS_BRANCH = 1
const IS_LEAF = 2
const IS_META = 8
const META = {
  magic: 24,
  version: 28,
  pageBytes: 48,
  freeRoot: 88,
  mainRoot: 136,
  lastPage: 144,
  transaction: 152,
}
const MAGIC = 0xbeefc0de
const VERSION = 2
const NO_PAGE = 2n ** 64n - 1n
/** Entries: data length or child page (u32 at 0), flags (u16 at 4), length of the key (u16 at 6), key, data. */
const ENTRY_HEAD_BYTES = 8
const IS_OUTSIDE = 1
const IS_TREE = 2
/** The record of a tree has its root at this place. */
const ROOT_AT = 40
/** Pages looked at, from the roots downwards: what takes a few milliseconds. */
const PAGES_MAX = 4096

interface Meta {
  roots: bigint[]
  lastPage: bigint
  transaction: bigint
}

/**
 * Looks at the store's file before LMDB does. A file that is absent is no fault: the store is made then.
 * @throws CarportError Corrupted, with a message for the operator
 */
export function checkLmdbFile(folder: string): void {
  const path = join(folder, 'data.mdb')
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  try {
    for (;;) {
      const before = readMeta(fd)
      const fault = typeof before === 'string' ? before : faultOfPages(fd, before)
      if (fault === undefined) return
      // Another process may write meanwhile, and use pages again that this one is looking at.
      const after = readMeta(fd)
      const isQuiet =
        typeof before === 'string' || typeof after === 'string' || before.transaction === after.transaction
      if (isQuiet) throw damaged(path, fault)
    }
  } finally {
    closeSync(fd)
  }
}

function damaged(path: string, fault: string): CarportError {
  return new CarportError(
    'Corrupted',
    `the database ${path} is damaged (${fault}): run "carport meta restore --from-replicas --yes" and start again, so that the ` +
      'node fetches its rows from the other replicas; without any, "carport meta restore --yes" takes the newest snapshot',
  )
}

/** The newer meta page, or what is wrong with them. */
function readMeta(fd: number): Meta | string {
  const { size } = fstatSync(fd)
  if (size === 0) return 'the file is empty'
  let newest: Meta | undefined
  for (const number of [0, 1]) {
    const page = readPage(fd, number)
    if (!page) return 'the file ends within its first pages'
    const isMeta =
      (page.readUInt16LE(FLAGS_AT) & IS_META) !== 0 &&
      page.readUInt32LE(META.magic) === MAGIC &&
      page.readUInt32LE(META.version) === VERSION
    if (!isMeta) return 'it does not begin as a database of this program does'
    if (page.readUInt32LE(META.pageBytes) !== PAGE_BYTES) return 'its pages have another length'
    const meta = {
      roots: [page.readBigUInt64LE(META.freeRoot), page.readBigUInt64LE(META.mainRoot)],
      lastPage: page.readBigUInt64LE(META.lastPage),
      transaction: page.readBigUInt64LE(META.transaction),
    }
    if (!newest || meta.transaction > newest.transaction) newest = meta
  }
  const neededBytes = (newest!.lastPage + 1n) * BigInt(PAGE_BYTES)
  if (neededBytes > BigInt(size)) return `it is cut short: ${size} of at least ${neededBytes} bytes`
  return newest!
}

/** Walks the trees level by level; returns what is wrong with the first page that cannot be right. */
function faultOfPages(fd: number, meta: Meta): string | undefined {
  let level = meta.roots.filter((root) => root !== NO_PAGE)
  let seen = 0
  // The trees of trees: their roots stand in the leaves of the main one.
  const main = new Set([meta.roots[1]!])
  while (level.length > 0) {
    const next: bigint[] = []
    for (const number of level) {
      if (++seen > PAGES_MAX) return undefined
      if (number < 2n || number > meta.lastPage) return `page ${number} is out of range`
      const page = readPage(fd, Number(number))
      if (!page) return `page ${number} cannot be read`
      const fault = faultOfPage(page, number)
      if (fault) return `page ${number} ${fault}`
      const isBranch = (page.readUInt16LE(FLAGS_AT) & IS_BRANCH) !== 0
      for (const at of entriesOf(page)) {
        if (isBranch) {
          const child = BigInt(page.readUInt32LE(at)) + (BigInt(page.readUInt16LE(at + 4)) << 32n)
          if (main.has(number)) main.add(child)
          next.push(child)
        } else if (main.has(number)) {
          const root = rootIn(page, at)
          if (root !== undefined && root !== NO_PAGE) next.push(root)
        }
      }
    }
    level = next
  }
  return undefined
}

function faultOfPage(page: Buffer, number: bigint): string | undefined {
  if (page.readBigUInt64LE(0) !== number) return 'is another one or was never written'
  const flags = page.readUInt16LE(FLAGS_AT)
  if (
    (flags & (IS_BRANCH | IS_LEAF | IS_META)) !== IS_BRANCH &&
    (flags & (IS_BRANCH | IS_LEAF | IS_META)) !== IS_LEAF
  ) {
    return 'is no page of a tree'
  }
  const listEnd = page.readUInt16LE(LIST_END_AT)
  const entriesAt = page.readUInt16LE(ENTRIES_AT)
  if (listEnd % 2 !== 0 || listEnd > entriesAt || HEAD_BYTES + entriesAt > PAGE_BYTES)
    return 'has a malformed head'
  for (const at of entriesOf(page)) {
    if (at < HEAD_BYTES + entriesAt || at + ENTRY_HEAD_BYTES + page.readUInt16LE(at + 6) > PAGE_BYTES) {
      return 'has a malformed entry'
    }
  }
  return undefined
}

/** Where the entries of a page begin; the head must be well-formed. */
function* entriesOf(page: Buffer): Generator<number> {
  const listEnd = page.readUInt16LE(LIST_END_AT)
  for (let i = 0; i < listEnd; i += 2) {
    const at = HEAD_BYTES + page.readUInt16LE(HEAD_BYTES + i)
    yield Math.min(at, PAGE_BYTES - ENTRY_HEAD_BYTES)
  }
}

/** The root of the tree that an entry of the main tree stands for; undefined if it is another entry. */
function rootIn(page: Buffer, at: number): bigint | undefined {
  const flags = page.readUInt16LE(at + 4)
  if ((flags & IS_TREE) === 0 || (flags & IS_OUTSIDE) !== 0) return undefined
  const dataAt = at + ENTRY_HEAD_BYTES + page.readUInt16LE(at + 6)
  return dataAt + ROOT_AT + 8 <= PAGE_BYTES ? page.readBigUInt64LE(dataAt + ROOT_AT) : undefined
}

function readPage(fd: number, number: number): Buffer | undefined {
  const page = Buffer.allocUnsafe(PAGE_BYTES)
  return readSync(fd, page, 0, PAGE_BYTES, number * PAGE_BYTES) === PAGE_BYTES ? page : undefined
}
