/** What sets a node of the first release, 0.1.0, apart: it knows fewer calls and tables, tells less of itself, and stores rows without a seal. */
import type { NodeStatus } from '../src/cluster/node-status.js'
import { TABLE_NAMES } from '../src/model/model.js'
import type { Core } from '../src/node/core.js'
import { treesOf } from '../src/table/row-keys.js'
import { headOf } from '../src/table/seal.js'
import type { SimPlatform } from './sim-machine.js'

/** What the first release serves of what nodes ask each other. */
const KNOWN = [
  /^cluster\//,
  /^table\/(?!admin_token|k2v_item)\w+\/(insert|get|range|push|pull|roots|leaves|hashes|check|collect)$/,
  /^block\/(put|get|need|retain|carry)$/,
  /^model\/(list|list-versions|usage|events)$/,
]

/** Rows that are changed in one transaction. */
const ROWS_MAX = 500

/** Lets a node, whose process has just begun, answer as one of the first release. */
export function actAsEarlier({ cluster }: Core, { transport }: SimPlatform): void {
  const told = cluster.ownStatus.bind(cluster)
  cluster.ownStatus = (): NodeStatus => {
    const { conditionalWrites: _, k2v: __, ...status } = told()
    return status as NodeStatus
  }
  transport.isUnknown = (method) => !KNOWN.some((known) => known.test(method))
}

/** Takes the seals from the rows of a node that does not run yet, as its earlier release has left them. */
export async function unsealRows({ db }: SimPlatform): Promise<void> {
  for (const table of [...TABLE_NAMES, 'block_ref']) {
    const { head } = treesOf(table)
    const rows = [...db.range(head)]
    for (let at = 0; at < rows.length; at += ROWS_MAX) {
      await db.transact((tx) => {
        for (const { key, value } of rows.slice(at, at + ROWS_MAX))
          tx.put(head, key, Buffer.from(headOf(value)))
      })
    }
  }
}
