import { useNavigate } from '@solidjs/router'
import { createSignal } from 'solid-js'
import { t } from '../../texts/texts'
import { Deletion } from '../../ui/deletion'

/** Deletes a bucket, which has to be empty. */
export function Removal(props: { name: string; command: string; remove: () => Promise<unknown> }) {
  const navigate = useNavigate()
  const [doomed, setDoomed] = createSignal<string>()
  return (
    <section class="card">
      <h2>{t('bucket.delete')}</h2>
      <p class="muted">{t('bucket.delete-hint')}</p>
      <button type="button" class="button danger" onClick={() => setDoomed(props.name)}>
        {t('bucket.delete-named', { name: props.name })}
      </button>
      <Deletion
        doomed={doomed()}
        title={t('bucket.delete-named', { name: props.name })}
        warning={t('bucket.delete-warning')}
        command={props.command}
        onDelete={async () => {
          await props.remove()
          navigate('/buckets')
        }}
        onClose={() => setDoomed(undefined)}
      />
    </section>
  )
}
