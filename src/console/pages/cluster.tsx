import { For, Show } from 'solid-js'
import type {
  ClusterDiagnosis,
  ClusterProgress,
  ClusterStatus,
  MultiResponse,
  NodeFigures,
} from '../../api/admin/types.js'
import { admin } from '../net/admin'
import { may, session } from '../session'
import { bytes, count, duration, t } from '../texts/texts'
import { Copyable } from '../ui/copy'
import { createLoad, Load } from '../ui/load'
import { Connect } from './cluster/connect'
import { RoundTrips, ZoneMap } from './cluster/map'

const EVERY_MS = 5000

/** The cluster as a map, what is out of sync and for how long, and what the doctor finds. */
export default function Cluster() {
  const token = () => session().adminToken
  const nodes = createLoad(
    token,
    async () => {
      const [status, figures] = await Promise.all([
        admin<ClusterStatus>('GetClusterStatus'),
        may('GetNodeFigures')
          ? admin<MultiResponse<NodeFigures>>('GetNodeFigures', { query: { node: '*' } })
          : undefined,
      ])
      return { status, figures: figures?.success ?? {} }
    },
    EVERY_MS,
  )
  const progress = createLoad(
    () => may('GetClusterProgress') && token(),
    () => admin<ClusterProgress>('GetClusterProgress'),
    EVERY_MS,
  )
  const diagnosis = createLoad(
    () => may('GetClusterDiagnosis') && token(),
    () => admin<ClusterDiagnosis>('GetClusterDiagnosis'),
  )
  return (
    <>
      <header class="page-head">
        <h1>{t('menu.cluster')}</h1>
        <Show when={may('ConnectClusterNodes')}>
          <Connect onConnected={nodes.reload} />
        </Show>
      </header>
      <Load of={nodes}>
        {(value) => (
          <>
            <div class="scroll" tabindex="0" role="region" aria-label={t('cluster.map-region')}>
              <ZoneMap nodes={value().status.nodes} figures={value().figures} />
            </div>
            <RoundTrips nodes={value().status.nodes} figures={value().figures} />
          </>
        )}
      </Load>
      <Show when={may('GetClusterProgress')}>
        <h2>{t('cluster.sync')}</h2>
        <Load of={progress}>{(value) => <Progress progress={value()} />}</Load>
      </Show>
      <Show when={may('GetClusterDiagnosis')}>
        <header class="page-head">
          <h2>{t('cluster.doctor')}</h2>
          <button type="button" class="button" disabled={diagnosis.isLoading()} onClick={diagnosis.reload}>
            {t('cluster.look-again')}
          </button>
        </header>
        <Load of={diagnosis}>{(value) => <Findings diagnosis={value()} />}</Load>
      </Show>
    </>
  )
}

function Progress(props: { progress: ClusterProgress }) {
  const progress = () => props.progress
  const left = () => {
    const { total } = progress()
    return [
      ['progress.blocks', total.blocksToFetch],
      ['progress.failed', total.blocksFailed],
      ['progress.compare', total.partitionsToCompare],
      ['progress.hand-over', total.partitionsToHandOver],
      ['progress.joining', total.copiesJoining],
      ['progress.writes', total.writesToSend],
    ] as const
  }
  const time = () => {
    const { done, secondsLeft } = progress()
    if (done) return t('progress.done')
    return secondsLeft === null ? t('progress.unknown') : t('progress.left', { time: duration(secondsLeft) })
  }
  return (
    <section class="card">
      <p>
        <strong>{time()}</strong>
      </p>
      <Show when={!progress().done}>
        <dl class="facts-list">
          <For each={left().filter(([, number]) => number > 0)}>
            {([name, number]) => (
              <>
                <dt>{t(name)}</dt>
                <dd>{count(number)}</dd>
              </>
            )}
          </For>
          <Show when={progress().total.bytesPerSec > 0}>
            <dt>{t('progress.rate')}</dt>
            <dd>{t('progress.per-second', { bytes: bytes(progress().total.bytesPerSec) })}</dd>
          </Show>
        </dl>
      </Show>
      <For each={Object.entries(progress().unknown)}>
        {([node, why]) => (
          <p class="note error">
            <span class="mono">{node.slice(0, 16)}</span>: {why}
          </p>
        )}
      </For>
      <Show when={progress().safeToStop.length > 0}>
        <p>
          {t('progress.safe', {
            nodes: progress()
              .safeToStop.map((id) => id.slice(0, 16))
              .join(', '),
          })}
        </p>
      </Show>
    </section>
  )
}

function Findings(props: { diagnosis: ClusterDiagnosis }) {
  const { nodesAsked, nodesAnswered, checks } = props.diagnosis
  return (
    <>
      <p class="muted">
        {t('doctor.asked', { checks: checks.length, answered: nodesAnswered, asked: nodesAsked })}
      </p>
      <For each={props.diagnosis.findings} fallback={<p class="card">{t('doctor.nothing')}</p>}>
        {(finding) => (
          <section class="card finding" data-severity={finding.severity}>
            <h3>
              <span class="badge">{t(`doctor.${finding.severity}`)}</span> {finding.message}
            </h3>
            <Show when={finding.node}>{(id) => <p class="muted mono">{id().slice(0, 16)}</p>}</Show>
            <Show when={/^carport /.test(finding.help)} fallback={<p>{finding.help}</p>}>
              <Copyable text={finding.help} label={t('command')} />
            </Show>
          </section>
        )}
      </For>
    </>
  )
}
