import type { BlockManager } from '../../block/manager.js'
import type { Db } from '../../db/db.js'
import { CarportError } from '../../util/errors.js'
import { versioned } from '../../util/format.js'
import type { Log } from '../../util/log.js'

/** The name of a variable → its value: settings of an operator that no layer stores by itself. */
const VARIABLES = 'admin:variables'
/** Trees of the Db that administration needs. */
export const ADMIN_TREES: readonly string[] = [VARIABLES]

const FORMAT = versioned<string>('variable', {
  encode: (value) => Buffer.from(value),
  writes: 1,
  versions: { 1: String },
  // The first release wrote the text alone, which begins with a digit.
  unmarked: { is: (stored) => stored[0]! >= 0x20, decode: String },
})

type Variable = { get(blocks: BlockManager): string } & (
  | { set?: undefined; stored?: undefined }
  /** @throws CarportError InvalidArgument */
  | { set(blocks: BlockManager, value: string): Promise<void>; stored?: undefined }
  /** Stored here, and set again at each start. */
  | { set(blocks: BlockManager, value: string): void; stored: true }
)

/** Named as in Garage. */
const KNOWN: Record<string, Variable> = {
  'resync-tranquility': {
    get: (blocks) => String(blocks.resync.settings.tranquility),
    set: (blocks, value) => blocks.resync.configure({ tranquility: toNumber(value) }),
    stored: true,
  },
  'resync-worker-count': {
    get: (blocks) => String(blocks.resync.settings.workers),
    set: (blocks, value) => blocks.resync.configure({ workers: toNumber(value) }),
    stored: true,
  },
  'scrub-tranquility': {
    get: (blocks) => String(blocks.scrub.status().tranquility),
    set: (blocks, value) => blocks.scrub.setTranquility(toNumber(value)),
  },
  'scrub-last-completed': { get: (blocks) => toTime(blocks.scrub.status().completedMs) },
  'scrub-next-run': { get: (blocks) => toTime(blocks.scrub.status().nextMs) },
  'scrub-corruptions_detected': { get: (blocks) => String(blocks.scrub.status().corruptions) },
}

/** The named variable, or all. @throws CarportError NotFound */
export function getVariables(blocks: BlockManager, name: string | null | undefined): Record<string, string> {
  const names = name === null || name === undefined ? Object.keys(KNOWN) : [name]
  return Object.fromEntries(names.map((known) => [known, variable(known).get(blocks)]))
}

/** Sets a variable permanently. @throws CarportError NotFound, InvalidArgument */
export async function setVariable(
  db: Db,
  blocks: BlockManager,
  name: string,
  value: string,
): Promise<{ variable: string; value: string }> {
  const { get, set, stored } = variable(name)
  if (!set) throw new CarportError('InvalidArgument', `${name} can only be read`)
  await set(blocks, value)
  if (stored) await db.transact((tx) => tx.put(VARIABLES, Buffer.from(name), FORMAT.encode(get(blocks))))
  return { variable: name, value: get(blocks) }
}

/** Sets the stored variables again after a restart. */
export function restoreVariables(db: Db, blocks: BlockManager, log: Log): void {
  for (const [name, known] of Object.entries(KNOWN)) {
    const value = known.stored && db.get(VARIABLES, Buffer.from(name))
    if (!value || !known.stored) continue
    try {
      known.set(blocks, FORMAT.decode(value))
    } catch (error) {
      log.warn({ variable: name, error: String(error) }, 'a stored variable is not taken; its default counts')
    }
  }
}

function variable(name: string): Variable {
  if (Object.hasOwn(KNOWN, name)) return KNOWN[name]!
  throw new CarportError('NotFound', `no variable "${name}", there are: ${Object.keys(KNOWN).join(', ')}`)
}

function toNumber(value: string): number {
  if (!/^\d{1,9}(\.\d{1,9})?$/.test(value)) {
    throw new CarportError('InvalidArgument', `"${value}" is not a number`)
  }
  return Number(value)
}

/** RFC 3339, or "never". */
function toTime(ms: number): string {
  return ms === 0 ? 'never' : new Date(ms).toISOString()
}
