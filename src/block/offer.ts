import type { Placement, QuorumCaller } from '../cluster/placement.js'
import { Priority } from '../net/transport.js'
import { CarportError } from '../util/errors.js'
import type { LocalBlocks } from './local-blocks.js'
import { sendBlock } from './put-calls.js'
import { NO_OWNER } from './rc.js'
import { checkFlags, METHODS } from './wire.js'

const CALL_TIMEOUT_MS = 30_000

/**
 * Gives a block whose partition lives elsewhere now to those of its replicas that want it and lack it.
 * @returns how many did
 * @throws CarportError Corrupted if this copy is bad; what a call failed with
 */
export async function offerBlock(
  { local, placement, caller }: { local: LocalBlocks; placement: Placement; caller: QuorumCaller },
  hash: Buffer,
  signal: AbortSignal,
): Promise<number> {
  const options = { timeoutMs: CALL_TIMEOUT_MS, priority: Priority.background, signal }
  let given = 0
  for (const node of placement.storageSet(hash[0]!)) {
    const reply = await caller.call(node, METHODS.need, { hashes: [hash] }, options)
    const [needed] = checkFlags(reply.body, 'needed', 1)
    if (!needed) continue
    const block = await local.read(hash)
    if (!block) throw new CarportError('Corrupted', 'the block is wanted elsewhere, but this copy is bad')
    const { head, payload } = block
    await sendBlock(caller, node, { hash, owner: NO_OWNER, head, payload }, options)
    given++
  }
  return given
}
