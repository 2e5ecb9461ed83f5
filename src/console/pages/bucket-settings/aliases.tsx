import { createSignal, For } from 'solid-js'
import type { BucketInfo } from '../../../api/admin/types.js'
import { admin } from '../../net/admin'
import { t } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command } from '../../ui/copy'
import { Field } from '../../ui/field'
import { Form } from '../../ui/form'

/** The names of a bucket; one stays at least. */
export function Aliases(props: { info: BucketInfo; onChange: () => void }) {
  const [name, setName] = createSignal('')
  const change = createAction(
    async (endpoint: 'AddBucketAlias' | 'RemoveBucketAlias', globalAlias: string) => {
      await admin(endpoint, { body: { bucketId: props.info.id, globalAlias } })
      props.onChange()
    },
  )
  return (
    <Form class="card" onSend={() => void change.start('AddBucketAlias', name().trim())}>
      <h2>{t('settings.aliases')}</h2>
      <For each={props.info.globalAliases}>
        {(alias) => (
          <p class="inline">
            <span class="mono">{alias}</span>
            <button
              type="button"
              class="button"
              disabled={change.busy() || props.info.globalAliases.length === 1}
              aria-label={t('alias.remove', { name: alias })}
              onClick={() => void change.start('RemoveBucketAlias', alias)}
            >
              ✕
            </button>
          </p>
        )}
      </For>
      <Field label={t('alias.new')} value={name()} onInput={setName} required hint={t('bucket.name-hint')} />
      <ErrorNote text={change.error()} />
      <Command text={`carport bucket alias ${props.info.id.slice(0, 16)} ${name().trim() || 'NAME'}`} />
      <button type="submit" class="button" disabled={change.busy()}>
        {t('pair.add')}
      </button>
    </Form>
  )
}
