import { type TopRow, topRow } from '../../api/admin/rates.js'
import type { NodeFigures } from '../../api/admin/types.js'
import { type AdminClient, type Output, SILENT } from '../admin-client.js'
import { formatTime } from '../format.js'
import type { CliIo } from '../io.js'
import { isSort, renderTop, type Sort } from '../top/render.js'

export interface TopOptions {
  /** Time between two looks, in ms. */
  intervalMs: number
  /** Whether to print it once, though there is a terminal. */
  once: boolean
  sort: Sort
}

type Figures = ReadonlyMap<string, NodeFigures>

/** `top`: shows again and again what all nodes do; once, as text, where there is no terminal. */
export async function top(admin: AdminClient, io: CliIo, options: TopOptions): Promise<Output> {
  const screen = options.once ? undefined : io.openScreen()
  const first = await look(admin, undefined)
  if (!screen) {
    await io.sleep(options.intervalMs)
    const { rows } = await look(admin, first.figures)
    return { json: rows, text: renderTop(rows, options.sort, timeOf(io)).slice(0, -2).join('\n') }
  }
  try {
    let { rows, figures } = first
    let { sort } = options
    let untilMs = io.nowMs() + options.intervalMs
    for (;;) {
      screen.draw(renderTop(rows, sort, timeOf(io)))
      const key = await screen.nextKey(Math.max(0, untilMs - io.nowMs()))
      if (key === 'q' || key === 'ctrl-c') return SILENT
      if (key !== undefined) {
        if (isSort(key)) sort = key
        continue
      }
      ;({ rows, figures } = await look(admin, figures))
      untilMs = io.nowMs() + options.intervalMs
    }
  } finally {
    screen.close()
  }
}

/** Asks all nodes. Without figures of before there are no rates yet. */
async function look(
  admin: AdminClient,
  before: Figures | undefined,
): Promise<{ rows: TopRow[]; figures: Figures }> {
  const [{ nodes }, { success, error }] = await Promise.all([
    admin.call('status', {}),
    admin.call('node.figures', { node: '*' }),
  ])
  return {
    rows: nodes
      .filter((node) => node.isUp || node.role !== null)
      .map((node) =>
        topRow(node, before?.get(node.id), success[node.id], node.isUp ? error[node.id] : undefined),
      ),
    figures: new Map(Object.entries(success)),
  }
}

function timeOf(io: CliIo): string {
  return formatTime(new Date(io.nowMs()).toISOString())
}
