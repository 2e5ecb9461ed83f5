import type { JSX } from 'solid-js'

/** A form that is sent by its submit button or the Enter key, and never leaves the page. */
export function Form(props: { onSend: () => void; class?: string; children: JSX.Element }) {
  return (
    <form
      class={props.class}
      onSubmit={(event) => {
        event.preventDefault()
        props.onSend()
      }}
    >
      {props.children}
    </form>
  )
}
