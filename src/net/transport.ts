/** A node's id: its Ed25519 public key, 64 hex digits. */
export type NodeId = string

/** The urgency of a call: smaller numbers go first. */
export const Priority = { control: 0, high: 1, normal: 2, background: 3 } as const
export type Priority = (typeof Priority)[keyof typeof Priority]

/** A body that streams, in chunks of any size. Its receiver must consume it or call `return()`. */
export type ByteStream = AsyncIterable<Buffer>

export interface RpcReply {
  body: unknown
  stream?: ByteStream
}

/**
 * Serves one method. `body` is the caller's, decoded but **not validated**: the handler checks it.
 * Its errors reach the caller as CarportErrors with the same code (others as RemoteError, without stack).
 * `signal` aborts when the caller went away or its deadline passed. `trace` and `readMark` are the caller's, unchecked.
 */
export type RpcHandler = (
  body: unknown,
  context: { from: NodeId; stream?: ByteStream; signal: AbortSignal; trace?: string; readMark?: number },
) => Promise<RpcReply> | RpcReply

export interface CallOptions {
  /** The whole call's deadline, streams excluded: with a stream, the longest silence between two chunks. */
  timeoutMs: number
  priority?: Priority
  stream?: ByteStream
  signal?: AbortSignal
  /** The span that makes the call, as the W3C's traceparent; unset where nothing is traced. */
  trace?: string
  /** The layout by which a quorum is read, see LayoutView.readMark; the own node does not hear of it. */
  readMark?: number
}

/**
 * How nodes talk. Calls to the own id are served in-process by the same handlers. Bodies are values that
 * msgpack can carry (objects, arrays, numbers, strings, booleans, null, Buffers); a receiver must not change
 * a body, since in-process calls pass it unchanged. Every message also carries the sender's HLC time.
 * Implementations: TLS links (net/), the simulator's network (testing/).
 */
export interface Transport {
  readonly self: NodeId
  /** Registers the handler of a method, before the node joins. A second registration of a name throws. */
  handle(method: string, handler: RpcHandler): void
  /**
   * @throws CarportError PeerUnreachable (no link, or it broke: the peer may or may not have served it), Timeout,
   * RemoteError, or the code the handler threw.
   */
  call(to: NodeId, method: string, body: unknown, options: CallOptions): Promise<RpcReply>
  /** Whether a link to that node is up right now. Always true of the own id. */
  isConnected(node: NodeId): boolean
  /** Smoothed round-trip time in milliseconds; undefined while unknown; 0 for the own id. */
  rttMs(node: NodeId): number | undefined
}
