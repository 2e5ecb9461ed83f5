import { createSignal } from 'solid-js'
import { apiCommand } from '../../commands'
import { type Pairs, setTags, tagsOf } from '../../net/versions'
import { t } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command } from '../../ui/copy'
import { Form } from '../../ui/form'
import { createLoad, Load } from '../../ui/load'
import { PairsEditor } from '../../ui/pairs'

/** The tags of an object; at most ten. */
export function Tags(props: { bucket: string; objectKey: string }) {
  const tags = createLoad(
    () => props.objectKey,
    (key) => tagsOf(props.bucket, key),
  )
  return (
    <Load of={tags}>
      {(given) => <Editor bucket={props.bucket} objectKey={props.objectKey} given={given()} />}
    </Load>
  )
}

function Editor(props: { bucket: string; objectKey: string; given: Pairs }) {
  const [pairs, setPairs] = createSignal(props.given)
  const [saved, setSaved] = createSignal(false)
  const save = createAction(async () => {
    await setTags(props.bucket, props.objectKey, pairs())
    setSaved(true)
  })
  return (
    <Form onSend={() => void save.start()}>
      <PairsEditor
        pairs={pairs()}
        onChange={(next) => {
          setSaved(false)
          setPairs(next)
        }}
      />
      <ErrorNote text={save.error()} />
      <Command
        text={apiCommand('put-object-tagging', { bucket: props.bucket, key: props.objectKey }, [
          '--tagging',
          JSON.stringify({ TagSet: pairs().map(([Key, Value]) => ({ Key, Value })) }),
        ])}
      />
      <footer>
        <span class="muted" role="status">
          {saved() ? t('saved') : ''}
        </span>
        <button type="submit" class="button primary" disabled={save.busy()}>
          {t('settings.save')}
        </button>
      </footer>
    </Form>
  )
}
