import { createSignal, For } from 'solid-js'
import { apiCommand } from '../../commands'
import { sourceOf } from '../../net/s3'
import { KEPT_HEADERS, type Pairs, setMetadata } from '../../net/versions'
import { t } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command } from '../../ui/copy'
import { Field } from '../../ui/field'
import { Form } from '../../ui/form'
import { PairsEditor } from '../../ui/pairs'

const PREFIX = 'x-amz-meta-'

/** Content type, headers and metadata, changed by a copy of the object onto itself. */
export function Metadata(props: {
  bucket: string
  objectKey: string
  headers: Headers
  onChange: () => void
}) {
  const [kept, setKept] = createSignal<Readonly<Record<string, string>>>(
    Object.fromEntries(KEPT_HEADERS.map((name) => [name, props.headers.get(name) ?? ''])),
  )
  const [metadata, setMetadataPairs] = createSignal<Pairs>(
    [...props.headers]
      .filter(([name]) => name.startsWith(PREFIX))
      .map(([name, value]) => [name.slice(PREFIX.length), value] as const),
  )
  const save = createAction(async () => {
    await setMetadata(props.bucket, props.objectKey, kept(), metadata())
    props.onChange()
  })
  const command = () => {
    const source = sourceOf({ bucket: props.bucket, key: props.objectKey })
    const headers = Object.entries(kept()).filter(([, value]) => value.trim() !== '')
    return apiCommand('copy-object', { bucket: props.bucket, key: props.objectKey }, [
      ...['--copy-source', source, '--metadata-directive', 'REPLACE'],
      ...headers.flatMap(([name, value]) => [`--${name.replace('x-amz-', '')}`, value]),
      ...(metadata().length === 0 ? [] : ['--metadata', JSON.stringify(Object.fromEntries(metadata()))]),
    ])
  }
  return (
    <Form onSend={() => void save.start()}>
      <p class="muted">{t('metadata.hint')}</p>
      <For each={KEPT_HEADERS}>
        {(name) => (
          <Field
            label={name}
            value={kept()[name] ?? ''}
            onInput={(value) => setKept((before) => ({ ...before, [name]: value }))}
          />
        )}
      </For>
      <h3>{t('object.metadata')}</h3>
      <PairsEditor pairs={metadata()} onChange={setMetadataPairs} />
      <ErrorNote text={save.error()} />
      <Command text={command()} />
      <footer>
        <button type="submit" class="button primary" disabled={save.busy()}>
          {t('settings.save')}
        </button>
      </footer>
    </Form>
  )
}
