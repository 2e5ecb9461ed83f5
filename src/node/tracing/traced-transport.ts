import type { CallOptions, NodeId, RpcHandler, RpcReply, Transport } from '../../net/transport.js'
import { endFailed, SpanKind, type Tracing, traceparentOf } from './tracing.js'

/**
 * Makes a span of each call to another node that is part of a traced request, and one of its serving there, below it.
 * Calls to the own node are what their caller is: they have no span.
 */
export class TracedTransport implements Transport {
  readonly self: NodeId

  constructor(
    private readonly inner: Transport,
    private readonly tracing: Tracing,
  ) {
    this.self = inner.self
  }

  handle(method: string, handler: RpcHandler): void {
    this.inner.handle(method, (body, context) => {
      if (context.trace === undefined) return handler(body, context)
      const span = this.tracing.begin(`serve ${method}`, context.trace, { 'carport.peer': context.from })
      try {
        const reply = this.tracing.run(span, () => handler(body, context))
        if (reply instanceof Promise) {
          reply.then(
            () => span.end(),
            (error: unknown) => endFailed(span, error),
          )
        } else span.end()
        return reply
      } catch (error) {
        endFailed(span, error)
        throw error
      }
    })
  }

  call(to: NodeId, method: string, body: unknown, options: CallOptions): Promise<RpcReply> {
    if (to === this.self) return this.inner.call(to, method, body, options)
    const span = this.tracing.beginChild(`call ${method}`, { 'carport.peer': to }, SpanKind.CLIENT)
    if (!span) return this.inner.call(to, method, body, options)
    const traced = { ...options, trace: traceparentOf(span) }
    return this.tracing.measure(span, () => this.inner.call(to, method, body, traced))
  }

  isConnected(node: NodeId): boolean {
    return this.inner.isConnected(node)
  }

  rttMs(node: NodeId): number | undefined {
    return this.inner.rttMs(node)
  }
}
