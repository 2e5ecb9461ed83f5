import type { NodeId } from '../net/transport.js'
import type { TableSchema } from './schema.js'

/**
 * Which replica sends a row's body with its head: one node, none, or each one whose row has another content than the one in
 * the list. Nodes of the releases that do not know such a list send none.
 */
export type BodyFrom = NodeId | null | readonly [content: Buffer]

/** Whether a row is wanted with its body: always, never, or unless its content is the one that the reader has. */
export type Wanted = boolean | Buffer

/** Whether the body of a row with that head is wanted. */
export function isWanted<E>(
  { contentId }: Pick<TableSchema<E>, 'contentId'>,
  wanted: Wanted,
  head: Buffer,
): boolean {
  return typeof wanted === 'boolean' ? wanted : contentId?.(head).equals(wanted) !== true
}
