import { useNavigate } from '@solidjs/router'
import { createSignal, Show } from 'solid-js'
import { emptyBucket } from '../../net/remove'
import { session } from '../../session'
import { count, t } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command } from '../../ui/copy'
import { Dialog } from '../../ui/dialog'
import { Field } from '../../ui/field'
import { Form } from '../../ui/form'

interface Doomed {
  readonly name: string
  /** The command that deletes it when it is empty. */
  readonly command: string
  readonly remove: () => Promise<unknown>
}

/** Deletes a bucket: an empty one, or, with an access key, one with all that is in it. */
export function Removal(props: Doomed) {
  const [isOpen, setOpen] = createSignal(false)
  return (
    <section class="card">
      <h2>{t('bucket.delete')}</h2>
      <p class="muted">{t('bucket.delete-hint')}</p>
      <button type="button" class="button danger" onClick={() => setOpen(true)}>
        {t('bucket.delete-named', { name: props.name })}
      </button>
      <Show when={isOpen()}>
        <Confirmation {...props} onClose={() => setOpen(false)} />
      </Show>
    </section>
  )
}

/** Asks, for the contents by the bucket's name, and shows how far it is; it can be stopped between two pages. */
function Confirmation(props: Doomed & { onClose: () => void }) {
  const navigate = useNavigate()
  const [isWithAll, setWithAll] = createSignal(false)
  const [typed, setTyped] = createSignal('')
  const [deleted, setDeleted] = createSignal(0)
  let abort = new AbortController()
  const isSure = () => !isWithAll() || typed() === props.name
  const remove = createAction(async () => {
    abort = new AbortController()
    setDeleted(0)
    const { signal } = abort
    try {
      if (isWithAll()) await emptyBucket(props.name, setDeleted, signal)
      signal.throwIfAborted()
    } catch (error) {
      if (signal.aborted) return
      throw error
    }
    await props.remove()
    props.onClose()
    navigate('/buckets')
  })
  const close = () => {
    abort.abort()
    props.onClose()
  }
  return (
    <Dialog
      open={true}
      onClose={close}
      title={t('bucket.delete-named', { name: props.name })}
      description={t('bucket.delete-warning')}
    >
      <Form onSend={() => isSure() && void remove.start()}>
        <Show when={session().key} fallback={<p class="muted">{t('bucket.delete-needs-key')}</p>}>
          <p>
            <label>
              <input
                type="checkbox"
                checked={isWithAll()}
                disabled={remove.busy()}
                onChange={(event) => {
                  remove.clear()
                  setWithAll(event.currentTarget.checked)
                }}
              />{' '}
              {t('bucket.delete-all')}
            </label>
          </p>
        </Show>
        <Show when={isWithAll()}>
          <Field
            label={t('bucket.type-name', { name: props.name })}
            value={typed()}
            onInput={setTyped}
            required
          />
        </Show>
        <Show when={isWithAll() && (remove.busy() || deleted() > 0)}>
          <p role="status">
            <Show when={remove.busy()}>
              <progress aria-label={t('object.deleting')} />{' '}
            </Show>
            {t('object.deleted-count', { count: count(deleted()) })}
          </p>
        </Show>
        <ErrorNote text={remove.error()} />
        <Command text={props.command} />
        <footer>
          <Show when={remove.busy() && isWithAll()}>
            <button type="button" class="button" onClick={() => abort.abort()}>
              {t('stop')}
            </button>
          </Show>
          <button type="submit" class="button danger" disabled={remove.busy() || !isSure()}>
            {t('delete')}
          </button>
        </footer>
      </Form>
    </Dialog>
  )
}
