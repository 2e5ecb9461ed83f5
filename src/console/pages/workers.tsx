import { createSignal, For, Show } from 'solid-js'
import type { BlockError, ClusterStatus, MultiResponse, WorkerInfo } from '../../api/admin/types.js'
import { admin, tellAll } from '../net/admin'
import { may, session } from '../session'
import { t } from '../texts/texts'
import { createAction, ErrorNote } from '../ui/action'
import { Command } from '../ui/copy'
import { List } from '../ui/list'
import { createLoad, Load } from '../ui/load'
import { Pace } from './workers/pace'
import { Told } from './workers/told'

const EVERY_MS = 5000
const REPAIRS = [
  'tables',
  'blocks',
  'versions',
  'multipartUploads',
  'blockRefs',
  'blockRc',
  'rebalance',
  'aliases',
] as const

/** Background work of all nodes, what it stumbles over, and repairs. */
export default function Workers() {
  const token = () => session().adminToken
  const names = createLoad(
    () => may('GetClusterStatus') && token(),
    () => admin<ClusterStatus>('GetClusterStatus'),
  )
  const workers = createLoad(
    token,
    () => admin<MultiResponse<WorkerInfo[]>>('ListWorkers', { query: { node: '*' }, body: {} }),
    EVERY_MS,
  )
  const errors = createLoad(
    () => may('ListBlockErrors') && token(),
    () => admin<MultiResponse<BlockError[]>>('ListBlockErrors', { query: { node: '*' } }),
    EVERY_MS,
  )
  const nameOf = (id: string) =>
    names.latest()?.nodes.find((node) => node.id === id)?.hostname ?? id.slice(0, 16)
  return (
    <>
      <h1>{t('menu.workers')}</h1>
      <Show when={may('LaunchRepairOperation')}>
        <Repairs onLaunched={workers.reload} />
        <Pace />
      </Show>
      <Show when={may('ListBlockErrors')}>
        <h2>{t('block.errors')}</h2>
        <Load of={errors}>
          {(found) => <BlockErrors found={found()} nameOf={nameOf} onRetry={errors.reload} />}
        </Load>
      </Show>
      <h2>{t('worker.list')}</h2>
      <Load of={workers}>
        {(found) => (
          <For each={Object.entries(found().success)}>
            {([node, list]) => (
              <section aria-label={nameOf(node)}>
                <h3>{nameOf(node)}</h3>
                <List
                  columns={[
                    t('name'),
                    t('worker.state'),
                    t('worker.queue'),
                    t('worker.progress'),
                    t('worker.problem'),
                  ]}
                  rows={list}
                >
                  {(worker) => <WorkerRow worker={worker} />}
                </List>
              </section>
            )}
          </For>
        )}
      </Load>
    </>
  )
}

function WorkerRow(props: { worker: WorkerInfo }) {
  const worker = () => props.worker
  const state = () => (typeof worker().state === 'string' ? (worker().state as string) : 'throttled')
  return (
    <tr>
      <td>{worker().name}</td>
      <td>{state()}</td>
      <td>{worker().queueLength ?? ''}</td>
      <td>
        <Show when={worker().work?.done != null} fallback={worker().progress ?? ''}>
          <progress max="1" value={worker().work!.done!} aria-label={worker().name} />
        </Show>
      </td>
      <td class="muted">{worker().consecutiveErrors > 0 ? worker().lastError?.message : ''}</td>
    </tr>
  )
}

function BlockErrors(props: {
  found: MultiResponse<BlockError[]>
  nameOf: (id: string) => string
  onRetry: () => void
}) {
  const all = () =>
    Object.entries(props.found.success).flatMap(([node, list]) => list.map((error) => ({ node, error })))
  const retry = createAction(async () => {
    await tellAll('RetryBlockResync', { all: true })
    props.onRetry()
  })
  return (
    <Show when={all().length > 0} fallback={<p class="muted">{t('block.none')}</p>}>
      <p>{t('block.advice')}</p>
      <table class="list">
        <tbody>
          <For each={all()}>
            {({ node, error }) => (
              <tr>
                <td>{props.nameOf(node)}</td>
                <td class="mono">{error.blockHash.slice(0, 16)}</td>
                <td>{t('block.tries', { count: error.errorCount })}</td>
              </tr>
            )}
          </For>
        </tbody>
      </table>
      <ErrorNote text={retry.error()} />
      <Command text="carport block retry-now --all" />
      <Show when={may('RetryBlockResync')}>
        <button type="button" class="button" disabled={retry.busy()} onClick={() => void retry.start()}>
          {t('block.retry')}
        </button>
      </Show>
    </Show>
  )
}

function Repairs(props: { onLaunched: () => void }) {
  const [told, setTold] = createSignal<number>()
  const [launched, setLaunched] = createSignal('tables')
  /** The command line has its names with hyphens, as Garage does. */
  const verbOf = (kind: string) =>
    kind === 'multipartUploads' ? 'mpu' : kind.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
  const launch = createAction(async (repairType: string) => {
    setLaunched(repairType)
    setTold(undefined)
    setTold(await tellAll('LaunchRepairOperation', { repairType }))
    props.onLaunched()
  })
  return (
    <details class="card">
      <summary>{t('repair.start')}</summary>
      <p class="muted">{t('repair.intro')}</p>
      <div class="share">
        <For each={REPAIRS}>
          {(kind) => (
            <button
              type="button"
              class="button"
              disabled={launch.busy()}
              onClick={() => void launch.start(kind)}
            >
              {kind}
            </button>
          )}
        </For>
      </div>
      <ErrorNote text={launch.error()} />
      <Told nodes={told()} />
      <Command text={`carport repair --yes -a ${verbOf(launched())}`} />
    </details>
  )
}
