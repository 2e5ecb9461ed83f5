import { createSignal } from 'solid-js'
import { t } from '../texts/texts'

/** A text that is copied by a click; plain HTTP has no clipboard, so it can be selected too. */
export function Copyable(props: { text: string; label?: string }) {
  const [copied, setCopied] = createSignal(false)
  let field!: HTMLInputElement
  const copy = async () => {
    field.select()
    try {
      if (navigator.clipboard) await navigator.clipboard.writeText(props.text)
      else document.execCommand('copy')
      setCopied(true)
    } catch {
      setCopied(false)
    }
  }
  return (
    <span class="copyable">
      <input
        ref={field}
        readonly
        value={props.text}
        aria-label={props.label ?? t('text-to-copy')}
        onFocus={() => field.select()}
      />
      <button type="button" class="button" onClick={copy}>
        {copied() ? t('copied') : t('copy')}
      </button>
    </span>
  )
}

/** The command that does the same as what was done on the page. */
export function Command(props: { text: string }) {
  return (
    <details class="command">
      <summary>{t('command')}</summary>
      <Copyable text={props.text} label={t('command')} />
    </details>
  )
}
