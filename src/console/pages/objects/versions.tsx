import { createSignal, Show } from 'solid-js'
import { apiCommand } from '../../commands'
import { deleteVersion, restoreVersion, type Version, versionsOf } from '../../net/versions'
import { bytes, t, when } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command } from '../../ui/copy'
import { Check } from '../../ui/field'
import { List } from '../../ui/list'
import { createLoad, Load } from '../../ui/load'

/** The versions of an object; an earlier one is restored by copying it, so that nothing is lost. */
export function Versions(props: {
  bucket: string
  objectKey: string
  onLocks: (versionId: string) => void
  onChange: () => void
}) {
  const versions = createLoad(
    () => props.objectKey,
    (key) => versionsOf(props.bucket, key),
  )
  /** The one that was deleted last. */
  const [last, setLast] = createSignal<string>()
  const [bypass, setBypass] = createSignal(false)
  const act = createAction(async (version: Version, what: 'restore' | 'delete') => {
    if (what === 'restore') await restoreVersion(props.bucket, props.objectKey, version.versionId)
    else await deleteVersion(props.bucket, props.objectKey, version.versionId, bypass())
    if (what === 'delete') setLast(version.versionId)
    versions.reload()
    props.onChange()
  })
  return (
    <>
      <ErrorNote text={act.error()} />
      <Load of={versions}>
        {(all) => (
          <List columns={[t('modified'), t('size')]} rows={all()} hasActions class="versions">
            {(version) => (
              <tr>
                <td>
                  {when(version.modified)}
                  <Show when={version.isLatest}> · {t('version.latest')}</Show>
                  <br />
                  <small class="muted mono">{version.versionId}</small>
                </td>
                <td class="short">{version.isDeleteMarker ? t('object.deleted') : bytes(version.size)}</td>
                <td class="actions">
                  <Show when={!version.isDeleteMarker}>
                    <button type="button" class="button" onClick={() => props.onLocks(version.versionId)}>
                      {t('view.locks')}
                    </button>
                  </Show>{' '}
                  <Show when={!version.isLatest && !version.isDeleteMarker}>
                    <button
                      type="button"
                      class="button"
                      disabled={act.busy()}
                      onClick={() => void act.start(version, 'restore')}
                    >
                      {t('version.restore')}
                    </button>
                  </Show>{' '}
                  <button
                    type="button"
                    class="button danger"
                    disabled={act.busy()}
                    onClick={() => void act.start(version, 'delete')}
                  >
                    {t(version.isDeleteMarker ? 'version.undelete' : 'version.delete')}
                  </button>
                </td>
              </tr>
            )}
          </List>
        )}
      </Load>
      <Command
        text={apiCommand('delete-object', {
          ...{ bucket: props.bucket, key: props.objectKey },
          versionId: last() ?? 'VERSION',
        })}
      />
      <Check label={t('lock.bypass-delete')} checked={bypass()} onChange={setBypass} />
    </>
  )
}
