import { createSignal, For, onCleanup, onMount, Show } from 'solid-js'
import { type TopRow, topRow } from '../../api/admin/rates.js'
import type { ClusterStatus, MultiResponse, NodeFigures } from '../../api/admin/types.js'
import { admin } from '../net/admin'
import { explain } from '../net/errors'
import { bytes, count, type TextName, t } from '../texts/texts'
import { ErrorNote } from '../ui/action'
import { List } from '../ui/list'
import { Plot } from '../ui/plot'

const EVERY_MS = 2000
/** Points that are kept: ten minutes. */
const POINTS = 300

const number = (value: number) => count(value, value < 10 ? 1 : 0)
const perSecond = (value: number) => `${bytes(value)}/s`
const ms = (value: number) => `${number(value)} ms`

const PLOTS: readonly {
  text: TextName
  of: (row: TopRow) => number | null
  format: (value: number) => string
}[] = [
  { text: 'live.requests', of: (row) => row.requestsPerSecond, format: number },
  { text: 'live.errors', of: (row) => row.serverErrorsPerSecond, format: number },
  { text: 'live.latency', of: (row) => row.latencyP99Ms, format: ms },
  { text: 'live.in', of: (row) => row.bytesInPerSecond, format: perSecond },
  { text: 'live.out', of: (row) => row.bytesOutPerSecond, format: perSecond },
  { text: 'live.loop', of: (row) => row.loopDelayP99Ms, format: ms },
]

interface Point {
  readonly at: number
  readonly rows: readonly TopRow[]
}

/** What every node does now, from its own figures; the table says the same as the plots to those who cannot see them. */
export default function Live() {
  const [points, setPoints] = createSignal<readonly Point[]>([])
  const [failure, setFailure] = createSignal<string>()
  let before: Readonly<Record<string, NodeFigures>> = {}

  const look = async () => {
    try {
      const [status, figures] = await Promise.all([
        admin<ClusterStatus>('GetClusterStatus'),
        admin<MultiResponse<NodeFigures>>('GetNodeFigures', { query: { node: '*' } }),
      ])
      const rows = status.nodes.map((node) =>
        topRow(node, before[node.id], figures.success[node.id], figures.error[node.id]),
      )
      before = figures.success
      setPoints((all) => [...all.slice(1 - POINTS), { at: Date.now() / 1000, rows }])
      setFailure(undefined)
    } catch (error) {
      setFailure(explain(error))
    }
  }
  onMount(() => {
    void look()
    let busy = false
    const timer = setInterval(async () => {
      if (busy || document.visibilityState === 'hidden') return
      busy = true
      await look()
      busy = false
    }, EVERY_MS)
    onCleanup(() => clearInterval(timer))
  })

  const latest = () => points().at(-1)?.rows ?? []
  const nameOf = (row: TopRow) => row.hostname ?? row.id.slice(0, 8)
  const series = (of: (row: TopRow) => number | null) =>
    latest().map(({ id, hostname }) => ({
      name: hostname ?? id.slice(0, 8),
      values: points().map(({ rows }) => {
        const row = rows.find((each) => each.id === id)
        return row ? of(row) : null
      }),
    }))
  const cell = (value: number | null, format: (value: number) => string) =>
    value === null ? '–' : format(value)
  return (
    <>
      <h1>{t('menu.live')}</h1>
      <ErrorNote text={failure()} />
      <Show when={latest().length > 0} fallback={<p class="muted">{t('loading')}</p>}>
        <div class="plots">
          <For each={PLOTS}>
            {({ text, of, format }) => (
              <Plot
                title={t(text)}
                times={points().map(({ at }) => at)}
                series={series(of)}
                format={format}
              />
            )}
          </For>
        </div>
        <List
          columns={[t('name'), ...PLOTS.map(({ text }) => t(text)), t('live.memory'), t('live.round-trip')]}
          rows={latest()}
        >
          {(row) => (
            <tr>
              <td>
                {nameOf(row)} {row.error}
              </td>
              <For each={PLOTS}>{({ of, format }) => <td>{cell(of(row), format)}</td>}</For>
              <td>{cell(row.memoryBytes, bytes)}</td>
              <td>{cell(row.roundTripMs, ms)}</td>
            </tr>
          )}
        </List>
      </Show>
    </>
  )
}
