import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  type SpanExporter,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import { errorCode } from '../../util/errors.js'
import type { Random } from '../../util/random.js'

export { SpanKind } from '@opentelemetry/api'

/** Spans that wait to be sent; further ones are dropped. */
const QUEUE_SPANS_MAX = 2048
const BATCH_SPANS_MAX = 512
/** How long spans are gathered, and how long the collector may take to answer, in ms. */
const GATHER_MS = 2_000
const EXPORT_TIMEOUT_MS = 5_000
/** W3C Trace Context, level 1: version, trace, parent, flags. */
const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

export interface TracingOptions {
  /** The node's id, and what it runs. */
  node: string
  version: string
  /** The share of requests that are traced, 0 to 1. */
  ratio: number
  random: Random
  exporter: SpanExporter
}

/**
 * The spans of a node. A span is open in whatever its work awaits (AsyncLocalStorage), so that no signature tells of
 * tracing. New spans are made below one that is open, and nowhere else but by `begin`: background work, which no
 * request waits for, is not traced, and neither is what a request left behind when its span has ended.
 */
export class Tracing {
  readonly #open = new AsyncLocalStorage<Span>()
  readonly #provider: TracerProvider
  readonly #tracer: Tracer
  readonly #random: Random
  readonly #ratio: number

  constructor({ node, version, ratio, random, exporter }: TracingOptions) {
    this.#provider = new TracerProvider({
      resource: resourceFromAttributes({
        'service.name': 'carport',
        'service.version': version,
        'service.instance.id': node,
      }),
      sampler: new AlwaysOnSampler(),
      idGenerator: {
        generateTraceId: () => random.bytes(16).toString('hex'),
        generateSpanId: () => random.bytes(8).toString('hex'),
      },
      spanProcessors: [
        new BatchSpanProcessor({
          exporter,
          maxQueueSize: QUEUE_SPANS_MAX,
          maxExportBatchSize: BATCH_SPANS_MAX,
          scheduledDelayMillis: GATHER_MS,
          exportTimeoutMillis: EXPORT_TIMEOUT_MS,
        }),
      ],
    })
    this.#random = random
    this.#ratio = ratio
    this.#tracer = this.#provider.getTracer('carport', version)
  }

  /**
   * Whether the next request is traced. Neither its trace's id nor its flags decide: a client must not make nodes
   * record more than the operator wants.
   */
  choose(): boolean {
    return this.#ratio >= 1 || this.#random.bytes(4).readUInt32BE() < this.#ratio * 2 ** 32
  }

  /**
   * Begins the span of work that came from outside.
   * @param traceparent the caller's span; anything that is none begins a trace of its own
   */
  begin(name: string, traceparent: unknown, attributes: Attributes = {}): Span {
    return this.#tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, contextOf(traceparent))
  }

  /** Runs `work`, whose spans become children of `span`. */
  run<T>(span: Span, work: () => T): T {
    return this.#open.run(span, work)
  }

  /** Begins a span below the open one; undefined where none is open. */
  beginChild(name: string, attributes: Attributes = {}, kind = SpanKind.INTERNAL): Span | undefined {
    const parent = this.#open.getStore()
    if (!parent?.isRecording()) return undefined
    return this.#tracer.startSpan(name, { kind, attributes }, trace.setSpan(ROOT_CONTEXT, parent))
  }

  /** Does `work` in a span below the open one, and just does it where none is open. */
  within<T>(name: string, attributes: Attributes, work: () => Promise<T>): Promise<T> {
    const span = this.beginChild(name, attributes)
    return span ? this.measure(span, work) : work()
  }

  /** Does `work` in `span`, which ends with it. */
  measure<T>(span: Span, work: () => Promise<T>): Promise<T> {
    const result = this.run(span, work)
    result.then(
      () => span.end(),
      (error: unknown) => endFailed(span, error),
    )
    return result
  }

  /** Sends what is left, and stops; waits no longer than one answer of the collector takes. */
  async stop(): Promise<void> {
    await this.#provider.shutdown().catch(() => undefined)
  }
}

/** Ends the span of work that failed. It gets the error's code alone: messages may quote what clients sent. */
export function endFailed(span: Span, error: unknown): void {
  const code = errorCode(error) ?? 'Internal'
  span.setAttribute('error.type', code)
  span.setStatus({ code: SpanStatusCode.ERROR, message: code })
  span.end()
}

/** A span as W3C Trace Context writes it in the header "traceparent". */
export function traceparentOf(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext()
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
}

function contextOf(traceparent: unknown): Context {
  const [, traceId, spanId] = (typeof traceparent === 'string' && TRACEPARENT.exec(traceparent)) || []
  if (traceId === undefined || spanId === undefined || /^0+$/.test(traceId) || /^0+$/.test(spanId)) {
    return ROOT_CONTEXT
  }
  const traceFlags = TraceFlags.SAMPLED
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true })
}
