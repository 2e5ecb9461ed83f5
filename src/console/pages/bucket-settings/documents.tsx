import { useSearchParams } from '@solidjs/router'
import { createSignal, For, Show } from 'solid-js'
import { SettingForm } from '../../forms/setting-form'
import type { BucketDocument } from '../../net/bucket-documents'
import { t } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command } from '../../ui/copy'
import { Form } from '../../ui/form'
import { createLoad, Load } from '../../ui/load'
import { PolicyWords } from './policy-words'

/** Settings that are documents, each asked for when it is opened; the last one opened stands in the address. */
export function Documents(props: { bucket: string; documents: readonly BucketDocument[] }) {
  const [query, setQuery] = useSearchParams<{ setting?: string }>()
  return (
    <section class="card">
      <h2>{t('settings.documents')}</h2>
      <p class="muted">{t('settings.documents-hint')}</p>
      <For each={props.documents}>
        {(each) => (
          <Document
            bucket={props.bucket}
            document={each}
            isFirst={query.setting === each.name}
            onOpen={(isOpen) => {
              if (isOpen || query.setting === each.name)
                setQuery({ setting: isOpen ? each.name : undefined }, { replace: true, scroll: false })
            }}
          />
        )}
      </For>
    </section>
  )
}

function Document(props: {
  bucket: string
  document: BucketDocument
  isFirst: boolean
  onOpen: (isOpen: boolean) => void
}) {
  const [isOpen, setOpen] = createSignal(props.isFirst)
  const content = createLoad(isOpen, () => props.document.read())
  return (
    <details
      class="document"
      open={isOpen()}
      onToggle={(event) => {
        if (event.currentTarget.open === isOpen()) return
        setOpen(event.currentTarget.open)
        props.onOpen(event.currentTarget.open)
      }}
    >
      <summary>{t(`document.${props.document.name}`)}</summary>
      <Show when={isOpen()}>
        <p class="muted">{t(`document.${props.document.name}-hint`)}</p>
        <Load of={content}>
          {(text) => <Editor bucket={props.bucket} document={props.document} given={text()} />}
        </Load>
      </Show>
    </details>
  )
}

/** A setting as a form or as its document: two views of the same text. */
function Editor(props: { bucket: string; document: BucketDocument; given: string }) {
  const [text, setText] = createSignal(props.given)
  const [saved, setSaved] = createSignal(props.given)
  const [isTold, setTold] = createSignal(false)
  const [isForm, setForm] = createSignal(true)
  const name = () => t(`document.${props.document.name}`)
  const save = createAction(async () => {
    await props.document.write(text())
    setSaved(text())
    setTold(true)
  })
  const change = (next: string) => {
    setTold(false)
    setText(next)
  }
  return (
    <Form onSend={() => void save.start()}>
      <div class="ways" role="group" aria-label={`${name()}: ${t('document.as')}`}>
        <button type="button" aria-pressed={isForm()} onClick={() => setForm(true)}>
          {t('document.as-form')}
        </button>
        <button type="button" aria-pressed={!isForm()} onClick={() => setForm(false)}>
          {t('document.as-text')}
        </button>
      </div>
      <Show
        when={isForm()}
        fallback={
          <textarea
            rows="10"
            class="mono wide"
            aria-label={name()}
            spellcheck={false}
            placeholder={t('document.none')}
            value={text()}
            onInput={(event) => change(event.currentTarget.value)}
          />
        }
      >
        <SettingForm
          name={props.document.name}
          form={props.document.form}
          bucket={props.bucket}
          text={text()}
          onText={change}
        />
      </Show>
      <Show when={props.document.name === 'policy' && text().trim() !== ''}>
        <PolicyWords text={text()} bucket={props.bucket} />
      </Show>
      <ErrorNote text={save.error()} />
      <Show when={text() !== saved() || isTold()}>
        <Command text={props.document.command(text())} />
      </Show>
      <div class="inline">
        <button type="submit" class="button primary" disabled={save.busy() || text() === saved()}>
          {t('settings.save')}
        </button>
        <Show when={text().trim() === ''}>
          <button type="button" class="button" onClick={() => change(props.document.example)}>
            {t('document.example')}
          </button>
        </Show>
        <Show when={text().trim() !== ''}>
          <button type="button" class="button" onClick={() => change('')}>
            {t('document.empty')}
          </button>
        </Show>
        <span class="muted" role="status">
          {isTold() ? t('saved') : ''}
        </span>
      </div>
    </Form>
  )
}
