import type { CallOptions, NodeId, RpcHandler, RpcReply, Transport } from '../../net/transport.js'
import type { Clock } from '../../util/clock.js'
import { errorCode } from '../../util/errors.js'
import { shortId } from '../../util/text.js'
import { SECONDS_BUCKETS } from './families.js'
import { Counter, Histogram, type Registry } from './prom-client.js'

/** Counts the calls to other nodes and measures how long they take; calls to the own node are not counted. */
export class MeasuredTransport implements Transport {
  readonly self: NodeId
  readonly #from: string
  readonly #requests: Counter
  readonly #errors: Counter
  readonly #timeouts: Counter
  readonly #durations: Histogram

  constructor(
    private readonly inner: Transport,
    private readonly clock: Clock,
    registry: Registry,
  ) {
    this.self = inner.self
    this.#from = shortId(inner.self)
    const labelNames = ['rpc_endpoint', 'from', 'to']
    const registers = [registry]
    this.#requests = new Counter({
      name: 'rpc_request_counter',
      help: 'Calls to other nodes',
      ...{ labelNames, registers },
    })
    this.#errors = new Counter({
      name: 'rpc_netapp_error_counter',
      help: 'Calls that found no link, or whose link broke',
      ...{ labelNames, registers },
    })
    this.#timeouts = new Counter({
      name: 'rpc_timeout_counter',
      help: 'Calls that were not answered in time',
      ...{ labelNames, registers },
    })
    this.#durations = new Histogram({
      name: 'rpc_duration',
      help: 'Seconds until a call to another node was answered, of all nodes together',
      ...{ labelNames: ['rpc_endpoint'], registers, buckets: SECONDS_BUCKETS },
    })
  }

  handle(method: string, handler: RpcHandler): void {
    this.inner.handle(method, handler)
  }

  call(to: NodeId, method: string, body: unknown, options: CallOptions): Promise<RpcReply> {
    const reply = this.inner.call(to, method, body, options)
    if (to === this.self) return reply
    const startedMs = this.clock.monotonicMs()
    this.#requests.inc(this.#labels(to, method))
    reply.then(
      () => this.#durations.observe({ rpc_endpoint: method }, (this.clock.monotonicMs() - startedMs) / 1000),
      (error: unknown) => {
        const code = errorCode(error)
        if (code === 'Timeout') this.#timeouts.inc(this.#labels(to, method))
        else if (code === 'PeerUnreachable') this.#errors.inc(this.#labels(to, method))
      },
    )
    return reply
  }

  isConnected(node: NodeId): boolean {
    return this.inner.isConnected(node)
  }

  rttMs(node: NodeId): number | undefined {
    return this.inner.rttMs(node)
  }

  #labels(to: NodeId, method: string) {
    return { rpc_endpoint: method, from: this.#from, to: shortId(to) }
  }
}
