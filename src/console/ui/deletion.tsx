import { t } from '../texts/texts'
import { createAction, ErrorNote } from './action'
import { Command } from './copy'
import { Dialog } from './dialog'

/** Asks before something is deleted. Open while there is something to delete. */
export function Deletion<T>(props: {
  doomed: T | undefined
  title: string
  warning: string
  command: string
  onDelete: (doomed: T) => Promise<void>
  onClose: () => void
}) {
  const remove = createAction(async (doomed: T) => {
    await props.onDelete(doomed)
    props.onClose()
  })
  return (
    <Dialog
      open={props.doomed !== undefined}
      onClose={props.onClose}
      title={props.title}
      description={props.warning}
    >
      <ErrorNote text={remove.error()} />
      <Command text={props.command} />
      <footer>
        <button
          type="button"
          class="button danger"
          disabled={remove.busy()}
          onClick={() => void remove.start(props.doomed!)}
        >
          {t('delete')}
        </button>
      </footer>
    </Dialog>
  )
}
