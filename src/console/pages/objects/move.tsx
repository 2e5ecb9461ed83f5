import { createSignal } from 'solid-js'
import { s3Word } from '../../commands'
import { copyObject, deleteObject } from '../../net/s3'
import { t } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command } from '../../ui/copy'
import { Field } from '../../ui/field'
import { Form } from '../../ui/form'

/** Copies an object, or moves it: to another name, folder or bucket. A move deletes the object when its copy is there. */
export function Move(props: {
  bucket: string
  objectKey: string
  onCopied: () => void
  onMoved: () => void
}) {
  const [bucket, setBucket] = createSignal(props.bucket)
  const [key, setKey] = createSignal(props.objectKey)
  const [done, setDone] = createSignal(false)
  const isSame = () => bucket() === props.bucket && key() === props.objectKey
  const copy = createAction(async (isMove: boolean) => {
    setDone(false)
    await copyObject({ bucket: props.bucket, key: props.objectKey }, { bucket: bucket(), key: key() })
    if (isMove) {
      await deleteObject(props.bucket, props.objectKey)
      props.onMoved()
    } else {
      setDone(true)
      props.onCopied()
    }
  })
  return (
    <Form onSend={() => void copy.start(true)}>
      <Field label={t('move.bucket')} value={bucket()} onInput={setBucket} required />
      <Field label={t('move.key')} value={key()} onInput={setKey} required />
      <ErrorNote text={copy.error()} />
      <Command text={`aws s3 mv ${s3Word(props.bucket, props.objectKey)} ${s3Word(bucket(), key())}`} />
      <footer>
        <span class="muted" role="status">
          {done() ? t('move.copied') : ''}
        </span>
        <button
          type="button"
          class="button"
          disabled={copy.busy() || isSame()}
          onClick={() => void copy.start(false)}
        >
          {t('move.copy')}
        </button>
        <button type="submit" class="button primary" disabled={copy.busy() || isSame()}>
          {t('move.move')}
        </button>
      </footer>
    </Form>
  )
}
