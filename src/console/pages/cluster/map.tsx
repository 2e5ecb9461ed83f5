import { createMemo, For, Show } from 'solid-js'
import type { ClusterStatus, NodeFigures } from '../../../api/admin/types.js'
import { t } from '../../texts/texts'
import { List } from '../../ui/list'
import { nodeName } from './node-name'

type Nodes = ClusterStatus['nodes']
type Figures = Readonly<Record<string, NodeFigures>>

interface Zone {
  readonly name: string
  readonly nodes: Nodes
  readonly x: number
  readonly y: number
}

/** The plane of the map, in units of its own. */
const WIDTH = 800
const HEIGHT = 420
const ZONE_WIDTH = 190
const NODE_HEIGHT = 22
/** Of each zone, so many nodes are drawn by name. */
const NAMES_MAX = 6

/** Zones stand on an ellipse, so that each can have a line to each other. */
function zonesOf(nodes: Nodes): Zone[] {
  const byName = new Map<string, Nodes>()
  for (const node of nodes) {
    const zone = node.role?.zone ?? ''
    byName.set(zone, [...(byName.get(zone) ?? []), node])
  }
  const sorted = [...byName].sort(([a], [b]) => (a < b ? -1 : 1))
  return sorted.map(([name, some], i) => {
    const angle = (2 * Math.PI * i) / sorted.length - Math.PI / 2
    const radius = sorted.length === 1 ? 0 : 1
    return {
      ...{ name, nodes: some },
      x: WIDTH / 2 + radius * (WIDTH / 2 - ZONE_WIDTH / 2 - 10) * Math.cos(angle),
      y: HEIGHT / 2 + radius * (HEIGHT / 2 - 70) * Math.sin(angle),
    }
  })
}

/** The round trip between two nodes in ms, as either of them measured it; undefined if none did. */
function roundTripMs(figures: Figures, a: string, b: string): number | undefined {
  const of = (from: string, to: string) => figures[from]?.peers.find(({ id }) => id === to)?.roundTripMs
  return of(a, b) ?? of(b, a)
}

const ms = (time: number) => t('cluster.ms', { time: time < 10 ? time.toFixed(1) : Math.round(time) })

/** Zones with their nodes, and the shortest round trip between any two zones on the line between them. */
export function ZoneMap(props: { nodes: Nodes; figures: Figures }) {
  const zones = createMemo(() => zonesOf(props.nodes))
  const lines = createMemo(() =>
    zones().flatMap((a, i) =>
      zones()
        .slice(i + 1)
        .map((b) => {
          const times = a.nodes
            .flatMap((from) => b.nodes.map((to) => roundTripMs(props.figures, from.id, to.id)))
            .filter((time) => time !== undefined)
          return { a, b, time: times.length > 0 ? Math.min(...times) : undefined }
        }),
    ),
  )
  return (
    <svg class="card map" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={t('cluster.map')}>
      <For each={lines()}>
        {({ a, b, time }) => (
          <>
            <line x1={a.x} y1={a.y} x2={b.x} y2={b.y} data-up={time !== undefined} />
            <Show when={time !== undefined}>
              <text class="time" x={(a.x + b.x) / 2} y={(a.y + b.y) / 2 - 6}>
                {ms(time!)}
              </text>
            </Show>
          </>
        )}
      </For>
      <For each={zones()}>{(zone) => <ZoneBox zone={zone} />}</For>
    </svg>
  )
}

function ZoneBox(props: { zone: Zone }) {
  const { zone } = props
  const shown = zone.nodes.slice(0, NAMES_MAX)
  const more = zone.nodes.length - shown.length
  const height = 40 + NODE_HEIGHT * (shown.length + (more > 0 ? 1 : 0))
  const left = zone.x - ZONE_WIDTH / 2
  const top = Math.min(Math.max(zone.y - height / 2, 4), HEIGHT - height - 4)
  return (
    <g data-up={zone.nodes.some(({ isUp }) => isUp)}>
      <rect x={left} y={top} width={ZONE_WIDTH} height={height} rx="8" />
      <text class="zone-name" x={left + 12} y={top + 22}>
        {zone.name || t('overview.no-zone')}
      </text>
      <For each={shown}>
        {(node, i) => (
          <g data-up={node.isUp}>
            <circle class="node-dot" cx={left + 18} cy={top + 40 + NODE_HEIGHT * i()} r="5" />
            <text x={left + 30} y={top + 45 + NODE_HEIGHT * i()}>
              {nodeName(node)}
            </text>
          </g>
        )}
      </For>
      <Show when={more > 0}>
        <text x={left + 30} y={top + 45 + NODE_HEIGHT * shown.length}>
          {t('upload.more', { count: more })}
        </text>
      </Show>
    </g>
  )
}

/** Every node, its version and state, and the round trips to each other as a table: the map for those who read it. */
export function RoundTrips(props: { nodes: Nodes; figures: Figures }) {
  return (
    <div class="scroll" tabindex="0" role="region" aria-label={t('live.round-trip')}>
      <List
        columns={[t('overview.nodes'), t('worker.state'), t('object.version'), ...props.nodes.map(nodeName)]}
        rows={props.nodes}
      >
        {(node) => (
          <tr>
            <th scope="row">
              {nodeName(node)} <small class="muted">{node.role?.zone}</small>
            </th>
            <td>{stateOf(node)}</td>
            <td>{node.garageVersion ?? ''}</td>
            <For each={props.nodes}>
              {(peer) => {
                const time = () => roundTripMs(props.figures, node.id, peer.id)
                return <td>{node.id === peer.id || time() === undefined ? '–' : ms(time()!)}</td>
              }}
            </For>
          </tr>
        )}
      </List>
    </div>
  )
}

function stateOf(node: Nodes[number]): string {
  if (!node.isUp) return t('node.down')
  return node.draining ? t('node.draining') : t('node.up')
}
