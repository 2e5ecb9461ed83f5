import * as Kobalte from '@kobalte/core/dialog'
import type { JSX } from 'solid-js'
import { Show } from 'solid-js'
import { t } from '../texts/texts'

/** A modal dialog with a form: focus stays in it, Escape closes it, unless it is one that wants an answer. */
export function Dialog(props: {
  open: boolean
  onClose: () => void
  title: string
  description?: string
  isFixed?: boolean
  children: JSX.Element
}) {
  return (
    <Kobalte.Root open={props.open} onOpenChange={(open) => !open && !props.isFixed && props.onClose()}>
      <Kobalte.Portal>
        <Kobalte.Overlay class="overlay" />
        <div class="dialog-place">
          <Kobalte.Content class="dialog">
            <header>
              <Kobalte.Title as="h2">{props.title}</Kobalte.Title>
              <Show when={!props.isFixed}>
                <Kobalte.CloseButton class="icon-button" aria-label={t('close')}>
                  ✕
                </Kobalte.CloseButton>
              </Show>
            </header>
            <Show when={props.description}>
              <Kobalte.Description class="muted">{props.description}</Kobalte.Description>
            </Show>
            {props.children}
          </Kobalte.Content>
        </div>
      </Kobalte.Portal>
    </Kobalte.Root>
  )
}
