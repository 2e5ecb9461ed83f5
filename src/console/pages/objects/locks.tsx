import { createSignal, Show } from 'solid-js'
import { apiCommand } from '../../commands'
import { type Locks as Held, locksOf, type RetentionMode, setLegalHold, setRetention } from '../../net/locks'
import { t, when } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command } from '../../ui/copy'
import { Check, Choice, Field } from '../../ui/field'
import { Form } from '../../ui/form'
import { createLoad, Load } from '../../ui/load'

interface Of {
  bucket: string
  objectKey: string
  /** The current version without it. */
  versionId: string | undefined
}

/** What keeps a version from being deleted, and until when. */
export function Locks(props: Of & { onChange: () => void }) {
  const locks = createLoad(
    () => JSON.stringify([props.bucket, props.objectKey, props.versionId]),
    () => locksOf({ bucket: props.bucket, key: props.objectKey, versionId: props.versionId }),
  )
  const changed = () => {
    locks.reload()
    props.onChange()
  }
  return (
    <>
      <Show when={props.versionId}>
        <p class="muted mono">{props.versionId}</p>
      </Show>
      <Load of={locks}>
        {(held) => (
          <Show when={held().isOffered} fallback={<p>{t('lock.not-offered')}</p>}>
            <Retention {...props} held={held()} onChange={changed} />
            <LegalHold {...props} held={held()} onChange={changed} />
          </Show>
        )}
      </Load>
    </>
  )
}

interface Part extends Of {
  held: Held
  onChange: () => void
}

function Retention(props: Part) {
  const given = () => props.held.retention
  const [mode, setMode] = createSignal<RetentionMode | ''>(given()?.mode ?? '')
  const [until, setUntil] = createSignal(given() ? localTime(given()!.until) : '')
  const [bypass, setBypass] = createSignal(false)
  const version = () => ({ bucket: props.bucket, key: props.objectKey, versionId: props.versionId })
  const next = () => {
    const chosen = mode()
    const time = new Date(until())
    return chosen === '' || Number.isNaN(time.getTime())
      ? undefined
      : { mode: chosen, until: time.toISOString() }
  }
  const save = createAction(async () => {
    await setRetention(version(), next(), bypass())
    props.onChange()
  })
  const command = () => {
    const retention = next()
    const text = retention ? `Mode=${retention.mode},RetainUntilDate=${retention.until}` : '{}'
    return apiCommand('put-object-retention', version(), [
      ...['--retention', text],
      ...(bypass() ? ['--bypass-governance-retention'] : []),
    ])
  }
  return (
    <Form onSend={() => void save.start()}>
      <h3>{t('object.retention')}</h3>
      <p>
        {given()
          ? t('object.locked-until', { mode: given()!.mode, until: when(given()!.until) })
          : t('lock.none')}
      </p>
      <Choice
        label={t('lock.mode')}
        value={mode()}
        options={[
          ['', t('lock.none')],
          ['GOVERNANCE', t('lock.governance')],
          ['COMPLIANCE', t('lock.compliance')],
        ]}
        onChange={(value) => setMode(value as RetentionMode | '')}
      />
      <Show when={mode() !== ''}>
        <Field label={t('lock.until')} type="datetime-local" value={until()} onInput={setUntil} required />
      </Show>
      <Show when={mode() === 'COMPLIANCE' && given()?.mode !== 'COMPLIANCE'}>
        <p class="note error">{t('lock.compliance-warning')}</p>
      </Show>
      <Show when={given()?.mode === 'GOVERNANCE'}>
        <Check label={t('lock.bypass')} checked={bypass()} onChange={setBypass} />
      </Show>
      <ErrorNote text={save.error()} />
      <Command text={command()} />
      <button type="submit" class="button" disabled={save.busy()}>
        {t('settings.save')}
      </button>
    </Form>
  )
}

function LegalHold(props: Part) {
  const version = () => ({ bucket: props.bucket, key: props.objectKey, versionId: props.versionId })
  const set = createAction(async (isOn: boolean) => {
    await setLegalHold(version(), isOn)
    props.onChange()
  })
  return (
    <section>
      <h3>{t('object.legal-hold')}</h3>
      <p class="muted">{t('lock.hold-hint')}</p>
      <Check
        label={t('lock.hold')}
        checked={props.held.legalHold}
        disabled={set.busy()}
        onChange={(isOn) => void set.start(isOn)}
      />
      <ErrorNote text={set.error()} />
      <Command
        text={apiCommand('put-object-legal-hold', version(), [
          ...['--legal-hold', `Status=${props.held.legalHold ? 'OFF' : 'ON'}`],
        ])}
      />
    </section>
  )
}

/** A time as inputs of dates have it: in the zone of this computer, to the minute. */
function localTime(iso: string): string {
  const time = new Date(iso)
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}
