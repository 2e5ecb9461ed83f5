import { CarportError } from '../util/errors.js'
import type { LayoutManager } from './layout-manager.js'
import type { Peering } from './peering.js'

/**
 * Of two first layouts, applied on nodes that do not reach each other, one replaces the other when they meet, whatever data is
 * stored by it. So a node that knows others, and is linked to none, begins no cluster of its own.
 * @throws CarportError Conflict
 */
export function checkFirstLayout({ layout, peering }: { layout: LayoutManager; peering: Peering }): void {
  if (layout.layoutVersion > 0 || !peering.isCutOff) return
  throw new CarportError(
    'Conflict',
    'this node knows other nodes, by bootstrap_peers or from before, and is linked to none of them: if they have a layout, ' +
      'a first one from here could replace it. Connect them ("carport status" shows them, "carport node connect" links ' +
      'them), or apply it by --force if there is no cluster yet',
  )
}
