import { createSignal, For, Show } from 'solid-js'
import type { BucketDocument } from '../../net/bucket-documents'
import { t } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Form } from '../../ui/form'
import { createLoad, Load } from '../../ui/load'
import { PolicyWords } from './policy-words'

/** Settings as documents, each asked for when it is opened. */
export function Documents(props: { documents: readonly BucketDocument[] }) {
  return (
    <section class="card">
      <h2>{t('settings.documents')}</h2>
      <p class="muted">{t('settings.documents-hint')}</p>
      <For each={props.documents}>{(each) => <Document document={each} />}</For>
    </section>
  )
}

function Document(props: { document: BucketDocument }) {
  const [isOpen, setOpen] = createSignal(false)
  const content = createLoad(isOpen, () => props.document.read())
  return (
    <details class="document" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{t(`document.${props.document.name}`)}</summary>
      <Show when={isOpen()}>
        <p class="muted">{t(`document.${props.document.name}-hint`)}</p>
        <Load of={content}>{(text) => <Editor document={props.document} given={text()} />}</Load>
      </Show>
    </details>
  )
}

function Editor(props: { document: BucketDocument; given: string }) {
  const [text, setText] = createSignal(props.given)
  const [saved, setSaved] = createSignal(props.given)
  const [isTold, setTold] = createSignal(false)
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
      <textarea
        rows="10"
        class="mono wide"
        aria-label={name()}
        spellcheck={false}
        placeholder={t('document.none')}
        value={text()}
        onInput={(event) => change(event.currentTarget.value)}
      />
      <Show when={props.document.name === 'policy' && text().trim() !== ''}>
        <PolicyWords text={text()} />
      </Show>
      <ErrorNote text={save.error()} />
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
