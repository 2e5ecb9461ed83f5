import type { Placement, QuorumCaller, QuorumCallOptions } from '../../cluster/placement.js'
import { Priority, type RpcReply, type Transport } from '../../net/transport.js'
import { isUnknownMethod } from '../../table/standing-rpc.js'
import type { Table } from '../../table/table.js'
import type { Clock } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import { sha256 } from '../content/hashing.js'
import { bucketPartition } from '../sort-keys.js'
import type { VersionRecord } from '../versions/record.js'
import { PAGE_ROWS_MAX, type Page, readEarlierPage, readPage, toEarlierPage } from './page.js'
import { inTurns, type Turns } from './turns.js'

const TIMEOUT_MS = 15_000

/** How replicas are asked for pages: the first release has a call of another name, and pages of another form. */
export interface PageMethods {
  today: string
  earlier: string
}

/** A request for a page, as its replica understands it. */
export interface PageAnswer {
  /** The node that sends the page, while the others send its SHA-256; null if all send it. */
  pageFrom: unknown
  /** @param isFull whether the others may have other pages, see buildPage */
  build(isFull: boolean, rowsMax: number): Turns<Buffer>
  /** `reply`, once the rows that were read for it are durable here. */
  whenDurable(reply: RpcReply): RpcReply | Promise<RpcReply>
}

/** Answers others who ask for pages, in today's form and in that of the first release, whose pages look at any number of rows. */
export function servePages(
  { transport, clock }: { transport: Transport; clock: Clock },
  { today, earlier }: PageMethods,
  answer: (body: unknown) => PageAnswer,
): void {
  const serve = (method: string, isEarlier: boolean) =>
    transport.handle(method, (body) => {
      const { pageFrom, build, whenDurable } = answer(body)
      const tell = (page: Buffer) => {
        const built = isEarlier ? toEarlierPage(page) : page
        const isWhole = pageFrom === null || pageFrom === transport.self
        return whenDurable({ body: isWhole ? built : sha256(built) })
      }
      const rowsMax = isEarlier ? Number.POSITIVE_INFINITY : PAGE_ROWS_MAX
      const page = inTurns(build(pageFrom === null && !isEarlier, rowsMax), clock)
      return page instanceof Promise ? page.then(tell) : tell(page)
    })
  serve(today, false)
  serve(earlier, true)
}

interface Pages {
  agreed: Page | undefined
  pages: Page[]
}

/**
 * The page on which a quorum of a bucket's replicas agrees, or else full pages of all of them. The nearest replica sends its
 * page, the others only its SHA-256. `request` is followed by the node whose page is wanted (null: full pages of all).
 *
 * In a cluster that is upgraded node by node, too few replicas may know today's call: all are asked for pages of the first
 * release then, which every release has. These do not account for deleted keys, so until the upgrade is done listings promise what
 * they promised there.
 */
export async function pagesByQuorum(
  deps: { quorum: QuorumCaller; placement: Placement },
  { today, earlier }: PageMethods,
  bucket: Buffer,
  request: readonly unknown[],
): Promise<Pages> {
  let isUnknown = false
  const onFailure = (_: unknown, error: unknown) => {
    if (isUnknownMethod(error)) isUnknown = true
  }
  try {
    return await pagesBy(deps, { method: today, read: readPage, onFailure }, bucket, request)
  } catch (error) {
    if (!isUnknown) throw error
    return pagesBy(deps, { method: earlier, read: readEarlierPage }, bucket, request)
  }
}

async function pagesBy(
  { placement, quorum }: { quorum: QuorumCaller; placement: Placement },
  call: { method: string; read: (page: Buffer) => Page; onFailure?: QuorumCallOptions['onFailure'] },
  bucket: Buffer,
  request: readonly unknown[],
): Promise<Pages> {
  const { method, read, onFailure } = call
  const nodes = placement.readSet(bucketPartition(bucket))
  const options = {
    quorum: placement.readQuorum,
    timeoutMs: TIMEOUT_MS,
    priority: Priority.high,
    ...(onFailure && { onFailure }),
  }
  const pageFrom = quorum.nearestFirst(nodes)[0]
  const replies = await quorum.read(nodes, method, [...request, pageFrom], options)
  const page = replies.find((r) => r.node === pageFrom)?.body
  if (Buffer.isBuffer(page)) {
    const mark = replies.length > 1 ? sha256(page) : undefined
    const agrees = (body: unknown) => body === page || (Buffer.isBuffer(body) && body.equals(mark!))
    if (replies.every((r) => agrees(r.body))) return { agreed: read(page), pages: [] }
  }
  // The replicas disagree, or the nearest one did not answer: all send their page.
  const all = await quorum.read(nodes, method, [...request, null], options)
  const pages = all.map(({ body }) => {
    if (!Buffer.isBuffer(body)) throw new CarportError('RemoteError', 'malformed page of a listing')
    return read(body)
  })
  return { agreed: undefined, pages }
}

/**
 * @throws CarportError LayoutNotReady if this node is no replica of the bucket, NotCaughtUp if its copy may lack rows: it must
 * not answer "nothing here"
 */
export function checkHolds(
  deps: { placement: Placement; transport: Transport; objects: Table<VersionRecord> },
  bucket: Buffer,
): void {
  const { placement, transport, objects } = deps
  if (placement.storageSet(bucketPartition(bucket)).includes(transport.self)) {
    objects.checkVote(bucket)
    return
  }
  throw new CarportError(
    'LayoutNotReady',
    'this node does not hold that bucket, or does not know yet that it should',
  )
}
