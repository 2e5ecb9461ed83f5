import { createSignal, For, Show } from 'solid-js'
import type { MultiResponse } from '../../../api/admin/types.js'
import { admin, tellAll } from '../../net/admin'
import { may, session } from '../../session'
import { t } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command } from '../../ui/copy'
import { Field } from '../../ui/field'
import { Form } from '../../ui/form'
import { createLoad, Load } from '../../ui/load'
import { Told } from './told'

const SCRUB = ['start', 'pause', 'resume', 'cancel'] as const

/** How gently background work goes about it: 0 works without a rest, 4 rests four times as long as it works. */
const TRANQUILITY = ['resync-tranquility', 'scrub-tranquility'] as const

type Variables = Readonly<Record<string, string>>

/** The pace of background work on all nodes, and the scrub, which can be paused. */
export function Pace() {
  const variables = createLoad(
    () => may('GetWorkerVariable') && may('SetWorkerVariable') && session().adminToken,
    () => admin<MultiResponse<Variables>>('GetWorkerVariable', { query: { node: '*' }, body: {} }),
  )
  const [command, setCommand] = createSignal('carport repair --yes -a scrub start')
  const [told, setTold] = createSignal<number>()
  const scrub = createAction(async (verb: (typeof SCRUB)[number]) => {
    setCommand(`carport repair --yes -a scrub ${verb}`)
    setTold(undefined)
    setTold(await tellAll('LaunchRepairOperation', { repairType: { scrub: verb } }))
  })
  return (
    <details class="card">
      <summary>{t('pace')}</summary>
      <h2>{t('pace.scrub')}</h2>
      <p class="muted">{t('pace.scrub-hint')}</p>
      <div class="share">
        <For each={SCRUB}>
          {(verb) => (
            <button
              type="button"
              class="button"
              disabled={scrub.busy()}
              onClick={() => void scrub.start(verb)}
            >
              {t(`pace.${verb}`)}
            </button>
          )}
        </For>
      </div>
      <ErrorNote text={scrub.error()} />
      <Told nodes={told()} />
      <Command text={command()} />
      <Show when={may('GetWorkerVariable') && may('SetWorkerVariable')}>
        <Load of={variables}>
          {(found) => (
            <For each={TRANQUILITY}>
              {(name) => (
                <Tranquility
                  name={name}
                  of={Object.values(found().success).map((each) => each[name] ?? '')}
                />
              )}
            </For>
          )}
        </Load>
      </Show>
    </details>
  )
}

function Tranquility(props: { name: (typeof TRANQUILITY)[number]; of: readonly string[] }) {
  /** What nodes have; several values where they differ. */
  const known = () => [...new Set(props.of)].join(', ')
  const [value, setValue] = createSignal(known().includes(',') ? '' : known())
  const [isTold, setTold] = createSignal(false)
  const save = createAction(async () => {
    await tellAll('SetWorkerVariable', { variable: props.name, value: value().trim() })
    setTold(true)
  })
  return (
    <Form onSend={() => void save.start()}>
      <Field
        label={t(`pace.${props.name}`)}
        type="number"
        value={value()}
        onInput={(next) => {
          setTold(false)
          setValue(next)
        }}
        required
        hint={t('pace.tranquility-hint', { now: known() })}
      />
      <ErrorNote text={save.error()} />
      <Command text={`carport worker set -a ${props.name} ${value().trim() || 'NUMBER'}`} />
      <div class="inline">
        <button type="submit" class="button" disabled={save.busy()}>
          {t('settings.save')}
        </button>
        <span class="muted" role="status">
          {isTold() ? t('saved') : ''}
        </span>
      </div>
    </Form>
  )
}
