import { Show } from 'solid-js'
import { deleteVersion, restoreVersion, type Version, versionsOf } from '../../net/versions'
import { bytes, t, when } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { List } from '../../ui/list'
import { createLoad, Load } from '../../ui/load'

/** The versions of an object; an earlier one is restored by copying it, so that nothing is lost. */
export function Versions(props: { bucket: string; objectKey: string; onChange: () => void }) {
  const versions = createLoad(
    () => props.objectKey,
    (key) => versionsOf(props.bucket, key),
  )
  const act = createAction(async (version: Version, what: 'restore' | 'delete') => {
    const run = what === 'restore' ? restoreVersion : deleteVersion
    await run(props.bucket, props.objectKey, version.versionId)
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
                <td>{version.isDeleteMarker ? t('object.deleted') : bytes(version.size)}</td>
                <td class="actions">
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
    </>
  )
}
