import type { QuorumCaller } from '../cluster/placement.js'
import { MESSAGE_BYTES_MAX } from '../net/messages.js'
import type { ByteStream, CallOptions, NodeId, RpcHandler, Transport } from '../net/transport.js'
import { ByteBudget } from '../util/byte-budget.js'
import type { CarportError } from '../util/errors.js'
import { claimantId } from './claims.js'
import type { LocalBlocks } from './local-blocks.js'
import { METHODS, optionalIncarnation, type PutRequest, receivePut, streamedBytes } from './wire.js'

/** The most bytes of a payload that go within the message, the only form that nodes of earlier releases know. */
const PAYLOAD_BYTES_MAX = MESSAGE_BYTES_MAX - 4096

/**
 * Gives a block to a node to store. A payload that is too long for a message follows it as a stream; a node of an earlier
 * release refuses that with InvalidArgument.
 * @throws CarportError what the call failed with
 */
export async function sendBlock(
  caller: QuorumCaller,
  node: NodeId,
  request: PutRequest & { payload: Buffer },
  options: CallOptions,
): Promise<void> {
  const { payload, ...rest } = request
  // The own node gets the very body, which is not encoded.
  if (payload.length <= PAYLOAD_BYTES_MAX || node === caller.self) {
    await caller.call(node, METHODS.put, request, options)
  } else {
    const body: PutRequest = { ...rest, bytes: payload.length }
    await caller.call(node, METHODS.put, body, { ...options, stream: oneChunk(payload) })
  }
}

async function* oneChunk(payload: Buffer): ByteStream {
  yield payload
}

/** Serves the blocks that nodes give to this one, itself included. */
export class PutCalls {
  /** Streamed payloads are as long as 256 MiB: they wait for their turn. */
  readonly #streamed: ByteBudget

  /** @param memoryBytes the memory for payloads that come as streams; one alone may have more */
  constructor(
    private readonly local: LocalBlocks,
    private readonly transport: Transport,
    memoryBytes: number,
  ) {
    this.#streamed = new ByteBudget(memoryBytes)
    transport.handle(METHODS.put, this.#serve)
  }

  /** Refuses payloads that wait for memory, with `error`, and all later ones. */
  close(error: CarportError): void {
    this.#streamed.close(error)
  }

  readonly #serve: RpcHandler = async (body, { from, stream }) => {
    const bytes = streamedBytes(body)
    const waiting = bytes > 0 ? this.#streamed.acquire(bytes) : undefined
    if (waiting) await waiting
    try {
      const { hash, owner, block } = await receivePut(body, stream, from !== this.transport.self)
      const incarnation = optionalIncarnation(body)
      const by = incarnation && claimantId({ node: from, incarnation })
      return { body: { written: await this.local.put(hash, owner, block, by) } }
    } finally {
      if (bytes > 0) this.#streamed.release(bytes)
    }
  }
}
