import { For } from 'solid-js'
import { t } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command } from '../../ui/copy'

/** Whether the bucket keeps versions; once they were kept, that can be suspended but not undone. */
export function Versioning(props: {
  state: 'off' | 'enabled' | 'suspended'
  commandOf: (state: 'Enabled' | 'Suspended') => string
  onSet: (state: 'Enabled' | 'Suspended') => Promise<void>
}) {
  const set = createAction((state: 'Enabled' | 'Suspended') => props.onSet(state))
  return (
    <section class="card">
      <h2>{t('settings.versioning')}</h2>
      <p>{t(`settings.versioning-${props.state}`)}</p>
      <For each={['Enabled', 'Suspended'] as const}>
        {(state) => (
          <button
            type="button"
            class="button"
            aria-pressed={props.state === state.toLowerCase()}
            disabled={set.busy() || (state === 'Suspended' && props.state === 'off')}
            onClick={() => void set.start(state)}
          >
            {t(`settings.versioning-${state}`)}
          </button>
        )}
      </For>
      <ErrorNote text={set.error()} />
      <Command text={props.commandOf(props.state === 'enabled' ? 'Suspended' : 'Enabled')} />
    </section>
  )
}
