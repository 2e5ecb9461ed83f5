import { A } from '@solidjs/router'
import { For, Show } from 'solid-js'
import type { ClusterHealthInfo, ClusterStatus } from '../../api/admin/types.js'
import { admin } from '../net/admin'
import { may, session } from '../session'
import { bytes, t } from '../texts/texts'
import { createLoad, Load } from '../ui/load'

const EVERY_MS = 5000

/** The cluster at a glance for who may see it; else where to go. */
export default function Overview() {
  return (
    <>
      <h1>{t('menu.overview')}</h1>
      <Show when={may('GetClusterHealth') && may('GetClusterStatus')} fallback={<Welcome />}>
        <Cluster />
      </Show>
    </>
  )
}

function Welcome() {
  return (
    <p>
      <A href="/buckets">{t('overview.to-buckets')}</A>
    </p>
  )
}

function Cluster() {
  const token = () => session().adminToken
  const health = createLoad(token, () => admin<ClusterHealthInfo>('GetClusterHealth'), EVERY_MS)
  const status = createLoad(token, () => admin<ClusterStatus>('GetClusterStatus'), EVERY_MS)
  return (
    <>
      <Load of={health}>
        {(value) => (
          <section class="facts" aria-label={t('overview.health')}>
            <Fact name={t('overview.health')} value={t(`health.${value().status}`)} tone={value().status} />
            <Fact name={t('overview.nodes')} value={`${value().storageNodesUp} / ${value().storageNodes}`} />
            <Fact
              name={t('overview.partitions')}
              value={`${value().partitionsAllOk} / ${value().partitions}`}
            />
          </section>
        )}
      </Load>
      <h2>{t('overview.nodes')}</h2>
      <Load of={status}>{(value) => <Nodes status={value()} />}</Load>
    </>
  )
}

function Fact(props: { name: string; value: string; tone?: string }) {
  return (
    <div class="card fact" data-tone={props.tone}>
      <span class="muted">{props.name}</span>
      <strong>{props.value}</strong>
    </div>
  )
}

function Nodes(props: { status: ClusterStatus }) {
  const zones = () => {
    const byZone = new Map<string, ClusterStatus['nodes']>()
    for (const node of props.status.nodes) {
      const zone = node.role?.zone ?? ''
      byZone.set(zone, [...(byZone.get(zone) ?? []), node])
    }
    return [...byZone].sort(([a], [b]) => (a < b ? -1 : 1))
  }
  return (
    <div class="zones">
      <For each={zones()}>
        {([zone, nodes]) => (
          <section class="card zone" aria-label={zone || t('overview.no-zone')}>
            <h3>{zone || t('overview.no-zone')}</h3>
            <For each={nodes}>{(node) => <Node node={node} />}</For>
          </section>
        )}
      </For>
    </div>
  )
}

function Node(props: { node: ClusterStatus['nodes'][number] }) {
  const node = () => props.node
  return (
    <article class="node" data-up={node().isUp}>
      <h4>
        <span class="dot" aria-hidden="true" /> {node().hostname ?? node().id.slice(0, 16)}
      </h4>
      <p class="muted">
        {node().isUp ? t('node.up') : t('node.down')}
        <Show when={node().draining}> · {t('node.draining')}</Show> ·{' '}
        <span class="mono">{node().id.slice(0, 16)}</span>
      </p>
      <Show when={node().dataPartition}>
        {(space) => (
          <p>
            <meter
              min="0"
              max={space().total}
              value={space().total - space().available}
              aria-label={t('node.space')}
            />{' '}
            {t('node.free', { free: bytes(space().available), total: bytes(space().total) })}
          </p>
        )}
      </Show>
      <Show when={node().role}>
        {(role) => (
          <p class="muted">
            {role().capacity ? t('node.capacity', { capacity: bytes(role().capacity!) }) : t('node.gateway')}
          </p>
        )}
      </Show>
    </article>
  )
}
