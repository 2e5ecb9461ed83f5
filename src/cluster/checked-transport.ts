import type { CallOptions, NodeId, RpcHandler, RpcReply, Transport } from '../net/transport.js'
import { CarportError } from '../util/errors.js'
import type { LayoutView } from './layout/view.js'

/**
 * Refuses to serve readers who go by a layout that no other node reads any more: one that was skipped as dead and lives, or that
 * has a role only in a layout that lost. A quorum of its replicas need not have one that took a later write.
 */
export class CheckedTransport implements Transport {
  readonly self: NodeId

  constructor(
    private readonly inner: Transport,
    private readonly layout: () => Pick<LayoutView, 'readersMark'>,
  ) {
    this.self = inner.self
  }

  handle(method: string, handler: RpcHandler): void {
    this.inner.handle(method, (body, context) => {
      const { readMark } = context
      if (readMark !== undefined && readMark < this.layout().readersMark) throw leftLayout()
      return handler(body, context)
    })
  }

  call(to: NodeId, method: string, body: unknown, options: CallOptions): Promise<RpcReply> {
    return this.inner.call(to, method, body, options)
  }

  isConnected(node: NodeId): boolean {
    return this.inner.isConnected(node)
  }

  rttMs(node: NodeId): number | undefined {
    return this.inner.rttMs(node)
  }
}

function leftLayout(): CarportError {
  return new CarportError('LayoutOutdated', "the reader's layout is one that no other node reads any more")
}
