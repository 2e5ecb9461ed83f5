import { createMemo, createResource, createSignal, For, Show } from 'solid-js'
import type { ClusterLayout, ClusterStatus, LayoutPlanAnswer } from '../../api/admin/types.js'
import { admin } from '../net/admin'
import { explain } from '../net/errors'
import { session } from '../session'
import { bytes, t } from '../texts/texts'
import { createAction, ErrorNote } from '../ui/action'
import { Command } from '../ui/copy'
import { List } from '../ui/list'
import { createLoad, Load } from '../ui/load'
import { nodeName } from './cluster/node-name'

interface Wanted {
  readonly id: string
  readonly name: string
  readonly isUp: boolean
  /** Empty: no role. */
  readonly zone: string
  /** In bytes; null: a gateway, which stores nothing. */
  readonly capacity: number | null
  readonly tags: string[]
}

const GIB = 2 ** 30

/** What shall be, from what is and what was staged. */
function wantedOf(status: ClusterStatus, layout: ClusterLayout): Wanted[] {
  const staged = new Map(layout.stagedRoleChanges.map((change) => [change.id, change]))
  return status.nodes.map(({ id, hostname, isUp, role }) => {
    const change = staged.get(id)
    const next = change ? ('remove' in change ? null : change) : role
    return {
      ...{ id, isUp, name: nodeName({ id, hostname }), zone: next?.zone ?? '', tags: next?.tags ?? [] },
      capacity: next?.capacity ?? null,
    }
  })
}

export default function Layout() {
  const now = createLoad(
    () => session().adminToken,
    async () => {
      const [status, layout] = await Promise.all([
        admin<ClusterStatus>('GetClusterStatus'),
        admin<ClusterLayout>('GetClusterLayout'),
      ])
      return { status, layout }
    },
  )
  return (
    <>
      <h1>{t('menu.layout')}</h1>
      <p class="muted">{t('layout.intro')}</p>
      <Load of={now}>
        {(value) => <Editor status={value().status} layout={value().layout} onApplied={now.reload} />}
      </Load>
    </>
  )
}

function Editor(props: { status: ClusterStatus; layout: ClusterLayout; onApplied: () => void }) {
  const [wanted, setWanted] = createSignal(wantedOf(props.status, props.layout))
  const [dragged, setDragged] = createSignal<string>()
  const zones = createMemo(() =>
    [...new Set(wanted().map(({ zone }) => zone))].filter((zone) => zone !== '').sort(),
  )
  const change = (id: string, more: Partial<Wanted>) =>
    setWanted((all) => all.map((node) => (node.id === id ? { ...node, ...more } : node)))
  /** By ids, which stay when a node is changed: so what has the focus stays in the page. */
  const idsIn = (zone: string) =>
    wanted()
      .filter((node) => node.zone === zone)
      .map(({ id }) => id)
  const roles = () =>
    wanted()
      .filter(({ zone }) => zone !== '')
      .map(({ id, zone, tags, capacity }) => ({ id, zone, tags, capacity }))
  const [plan] = createResource(
    // Asks again when a layout was applied, by this page or by somebody else: what is left to do is another then.
    () => JSON.stringify([props.layout.version, roles()]),
    (text) => {
      const [, roles] = JSON.parse(text) as [number, unknown]
      return admin<LayoutPlanAnswer>('PlanClusterLayout', { body: { roles } })
    },
  )
  const apply = createAction(async () => {
    const ids = new Set(roles().map(({ id }) => id))
    const gone = props.status.nodes.filter(({ id, role }) => role && !ids.has(id))
    const changes = [...roles(), ...gone.map(({ id }) => ({ id, remove: true }))]
    await admin('UpdateClusterLayout', { body: { roles: changes } })
    await admin('ApplyClusterLayout', { body: { version: props.layout.version + 1 } })
    props.onApplied()
  })
  const drop = (zone: string) => {
    const id = dragged()
    if (id !== undefined) change(id, { zone })
    setDragged(undefined)
  }
  return (
    <>
      <div class="zones">
        <For each={[...zones(), '']}>
          {(zone) => (
            <section
              class="card zone"
              aria-label={zone || t('overview.no-zone')}
              onDragOver={(event) => event.preventDefault()}
              onDrop={() => drop(zone)}
            >
              <h2>{zone || t('overview.no-zone')}</h2>
              <For each={idsIn(zone)}>
                {(id) => (
                  <Show when={wanted().find((node) => node.id === id)}>
                    {(node) => (
                      <NodeRole
                        node={node()}
                        zones={zones()}
                        onDrag={() => setDragged(id)}
                        onChange={(more) => change(id, more)}
                      />
                    )}
                  </Show>
                )}
              </For>
            </section>
          )}
        </For>
      </div>
      <section class="card plan" aria-live="polite">
        <h2>{t('layout.plan')}</h2>
        <Show when={!plan.error} fallback={<ErrorNote text={explain(plan.error)} />}>
          <Show when={plan.latest}>{(found) => <Plan plan={found()} names={props.status} />}</Show>
        </Show>
        <ErrorNote text={apply.error()} />
        <Show when={(plan.error ? undefined : plan.latest)?.changes.length}>
          <Command text={commandsOf(props, roles())} />
          <button
            type="button"
            class="button primary"
            disabled={apply.busy() || plan.loading}
            onClick={() => void apply.start()}
          >
            {t('layout.apply')}
          </button>
        </Show>
      </section>
    </>
  )
}

function NodeRole(props: {
  node: Wanted
  zones: string[]
  onDrag: () => void
  onChange: (more: Partial<Wanted>) => void
}) {
  const node = () => props.node
  return (
    <article class="node" data-up={node().isUp} draggable="true" onDragStart={() => props.onDrag()}>
      <h3>
        <span class="dot" aria-hidden="true" /> {node().name}
      </h3>
      <label class="inline">
        {t('layout.zone')}
        <input
          list="zones"
          value={node().zone}
          aria-label={t('layout.zone-of', { name: node().name })}
          onChange={(event) => {
            const { id } = node()
            props.onChange({ zone: event.currentTarget.value.trim() })
            // The node stands elsewhere now, and with it the next field, which was to get the focus.
            setTimeout(() => {
              if (document.activeElement === document.body) document.getElementById(`capacity-${id}`)?.focus()
            })
          }}
        />
      </label>
      <label class="inline">
        {t('layout.capacity')}
        <input
          id={`capacity-${node().id}`}
          type="number"
          min="0"
          step="any"
          value={node().capacity === null ? '' : Math.round((node().capacity! / GIB) * 100) / 100}
          placeholder={t('node.gateway')}
          aria-label={t('layout.capacity-of', { name: node().name })}
          onChange={(event) => {
            const given = event.currentTarget.valueAsNumber
            props.onChange({ capacity: Number.isFinite(given) && given > 0 ? Math.round(given * GIB) : null })
          }}
        />
      </label>
    </article>
  )
}

function Plan(props: { plan: LayoutPlanAnswer; names: ClusterStatus }) {
  const nameOf = (id: string) =>
    nodeName({ id, hostname: props.names.nodes.find((node) => node.id === id)?.hostname ?? null })
  return (
    <Show when={props.plan.changes.length > 0} fallback={<p class="muted">{t('layout.nothing')}</p>}>
      <p>
        {t('layout.moves', { partitions: props.plan.movedPartitions, bytes: bytes(props.plan.movedBytes) })}{' '}
        {t('layout.usable', { bytes: bytes(props.plan.statistics.effectiveCapacity) })}{' '}
        {t('layout.redundancy', { zones: props.plan.statistics.effectiveZoneRedundancy })}
      </p>
      <ul>
        <For each={props.plan.survives.zones}>
          {(zone) => <li>{t(survivalOf(zone), { zone: zone.zone })}</li>}
        </For>
      </ul>
      <List columns={[t('name'), t('layout.partitions'), t('layout.received')]} rows={props.plan.nodes}>
        {(node) => (
          <tr>
            <td>{nameOf(node.id)}</td>
            <td>{node.partitions}</td>
            <td>
              {node.receivedPartitions > 0
                ? t('layout.gets', {
                    partitions: node.receivedPartitions,
                    bytes: bytes(node.receivedBytes),
                  })
                : ''}
            </td>
          </tr>
        )}
      </List>
    </Show>
  )
}

/** What the loss of a zone means. */
function survivalOf(zone: LayoutPlanAnswer['survives']['zones'][number]) {
  if (zone.withoutCopy > 0) return 'layout.zone-loses'
  if (zone.withoutReads > 0) return 'layout.zone-stops-reads'
  return zone.withoutWrites > 0 ? 'layout.zone-stops-writes' : 'layout.zone-survives'
}

function commandsOf(
  { layout, status }: { layout: ClusterLayout; status: ClusterStatus },
  roles: readonly { id: string; zone: string; capacity: number | null }[],
): string {
  const assign = roles.map(
    ({ id, zone, capacity }) =>
      `carport layout assign ${id.slice(0, 16)} -z ${zone} ${capacity === null ? '-g' : `-c ${capacity}`}`,
  )
  const removed = status.nodes
    .filter(({ id, role }) => role && !roles.some((each) => each.id === id))
    .map(({ id }) => `carport layout remove ${id.slice(0, 16)}`)
  return [...assign, ...removed, `carport layout apply --version ${layout.version + 1}`].join(' && ')
}
