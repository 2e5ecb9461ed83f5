import { createSignal, For, Show } from 'solid-js'
import type { MultiResponse, NodeInfoAnswer } from '../../../api/admin/types.js'
import { admin } from '../../net/admin'
import { t } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command, Copyable } from '../../ui/copy'
import { Dialog } from '../../ui/dialog'
import { Field } from '../../ui/field'
import { Form } from '../../ui/form'
import { createLoad } from '../../ui/load'

/** Connects this node to another; then the other stands in the layout, to be given a role. */
export function Connect(props: { onConnected: () => void }) {
  const [isOpen, setOpen] = createSignal(false)
  const [address, setAddress] = createSignal('')
  const self = createLoad(isOpen, () =>
    admin<MultiResponse<NodeInfoAnswer>>('GetNodeInfo', { query: { node: 'self' } }),
  )
  const here = () => Object.values(self.latest()?.success ?? {})
  const connect = createAction(async () => {
    const [result] = await admin<{ success: boolean; error: string | null }[]>('ConnectClusterNodes', {
      body: [address().trim()],
    })
    if (!result?.success) throw new Error(result?.error ?? t('connect.failed'))
    setOpen(false)
    setAddress('')
    props.onConnected()
  })
  return (
    <>
      <button type="button" class="button" onClick={() => setOpen(true)}>
        {t('connect.node')}
      </button>
      <Dialog
        open={isOpen()}
        onClose={() => setOpen(false)}
        title={t('connect.node')}
        description={t('connect.hint')}
      >
        <Form onSend={() => void connect.start()}>
          <Field
            label={t('connect.address')}
            value={address()}
            onInput={setAddress}
            required
            pattern="\s*[0-9a-f]{64}@.+:\d+\s*"
            placeholder="0123…@host:3901"
          />
          <For each={here()}>
            {(node) => (
              <Show when={node.addr}>
                <p class="muted">{t('connect.this')}</p>
                <Copyable text={`${node.nodeId}@${node.addr}`} label={t('connect.this')} />
              </Show>
            )}
          </For>
          <ErrorNote text={connect.error() ?? undefined} />
          <Command text={`carport node connect ${address().trim() || 'ID@HOST:PORT'}`} />
          <footer>
            <button type="submit" class="button primary" disabled={connect.busy()}>
              {t('connect')}
            </button>
          </footer>
        </Form>
      </Dialog>
    </>
  )
}
