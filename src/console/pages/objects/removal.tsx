import { createSignal, Show } from 'solid-js'
import { s3Word } from '../../commands'
import { removeAll } from '../../net/remove'
import { count, t } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command } from '../../ui/copy'
import { Dialog } from '../../ui/dialog'

/** Keys, and whether each is a folder with all below it: an object's own key may end with a slash, too. */
export type Chosen = ReadonlyMap<string, 'folder' | 'object'>

/** Asks before objects and folders are deleted, and shows how far it is; it can be stopped between two pages. */
export function Removal(props: { bucket: string; chosen: Chosen; onClose: (hasDeleted: boolean) => void }) {
  const [deleted, setDeleted] = createSignal(0)
  const chosen = (kind: 'folder' | 'object') =>
    [...props.chosen].flatMap(([key, is]) => (is === kind ? [key] : []))
  const folders = chosen('folder')
  const keys = chosen('object')
  const abort = new AbortController()
  const remove = createAction(async () => {
    await removeAll(props.bucket, { keys, folders }, setDeleted, abort.signal).catch((error) => {
      if (!abort.signal.aborted) throw error
    })
    props.onClose(true)
  })
  const close = () => {
    abort.abort()
    if (!remove.busy()) props.onClose(deleted() > 0)
  }
  return (
    <Dialog
      open={true}
      onClose={close}
      title={t('object.delete-chosen', { count: props.chosen.size })}
      description={t(folders.length > 0 ? 'object.delete-folders' : 'object.delete-warning')}
    >
      <Show when={remove.busy() || deleted() > 0}>
        <p role="status">
          <Show when={remove.busy()}>
            <progress
              aria-label={t('object.deleting')}
              {...(folders.length === 0 && { max: keys.length, value: deleted() })}
            />{' '}
          </Show>
          {t('object.deleted-count', { count: count(deleted()) })}
        </p>
      </Show>
      <ErrorNote text={remove.error()} />
      <Show when={[...folders, ...keys][0]}>
        {(first) => (
          <Command
            text={`aws s3 rm ${folders.length > 0 ? '--recursive ' : ''}${s3Word(props.bucket, first())}`}
          />
        )}
      </Show>
      <footer>
        <Show when={remove.busy()}>
          <button type="button" class="button" onClick={() => abort.abort()}>
            {t('stop')}
          </button>
        </Show>
        <button
          type="button"
          class="button danger"
          disabled={remove.busy()}
          onClick={() => void remove.start()}
        >
          {t('delete')}
        </button>
      </footer>
    </Dialog>
  )
}
