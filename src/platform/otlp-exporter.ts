import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace'
import type { Log } from '../util/log.js'

/** The path of the method of OTLP over gRPC, and of OTLP over HTTP. */
const GRPC_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const HTTP_PATH = '/v1/traces'
/** The well-known port of OTLP over HTTP. */
const HTTP_PORT = '4318'
const GRPC_HEAD_BYTES = 5
const ANSWER_BYTES_MAX = 64 * 1024

/**
 * Sends spans to a collector by OTLP, in protobuf: over gRPC, which is what Garage's trace_sink means, or over HTTP where
 * the URL has a path or the port 4318. Failures are logged when they begin, not each.
 * @param timeoutMs how long the collector may take to answer
 */
export function otlpExporter(sink: string, timeoutMs: number, log: Log): SpanExporter {
  const url = new URL(sink)
  const isHttp = url.pathname !== '/' || url.port === HTTP_PORT
  if (isHttp && url.pathname === '/') url.pathname = HTTP_PATH
  const send = async (to: URL, spans: ReadableSpan[], limitMs: number) => {
    // Loaded with the first span: a node that nobody uses stays small.
    const { ProtobufTraceSerializer } = await import('@opentelemetry/otlp-transformer')
    const body = ProtobufTraceSerializer.serializeRequest(spans)
    if (!body) throw new Error('the spans cannot be encoded')
    await (isHttp ? sendOverHttp(to, body, limitMs) : sendOverGrpc(to, body, limitMs))
  }
  let failing = false
  return {
    export(spans: ReadableSpan[], done) {
      send(url, spans, timeoutMs).then(
        () => {
          if (failing) log.info({ sink: url.host }, 'traces are taken again')
          failing = false
          done({ code: 0 })
        },
        (error: Error) => {
          if (!failing) log.warn({ sink: url.host, reason: error.message }, 'traces cannot be sent')
          failing = true
          done({ code: 1, error })
        },
      )
    },
    shutdown: () => Promise.resolve(),
  }
}

async function sendOverHttp(url: URL, body: Uint8Array, timeoutMs: number): Promise<void> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body: body as Uint8Array<ArrayBuffer>,
    signal: AbortSignal.timeout(timeoutMs),
    redirect: 'error',
  })
  await answer.body?.cancel()
  if (!answer.ok) throw new Error(`the collector answered ${answer.status}`)
}

/** One unary call of gRPC on a connection of its own: a batch every few seconds does not need to keep one. */
async function sendOverGrpc(url: URL, body: Uint8Array, timeoutMs: number): Promise<void> {
  const { connect } = await import('node:http2')
  return new Promise((resolve, reject) => {
    const session = connect(url.origin)
    const finish = (error?: Error) => {
      clearTimeout(timer)
      session.destroy()
      if (error) reject(error)
      else resolve()
    }
    const timer = setTimeout(
      () => finish(new Error(`the collector did not answer within ${timeoutMs} ms`)),
      timeoutMs,
    )
    session.on('error', finish)
    const call = session.request({
      ':method': 'POST',
      ':path': GRPC_PATH,
      'content-type': 'application/grpc',
      te: 'trailers',
      'grpc-timeout': `${timeoutMs}m`,
    })
    let httpStatus: number | undefined
    let grpcStatus: string | undefined
    let bytes = 0
    call.on('response', (headers) => {
      httpStatus = headers[':status']
      // An answer without a body has its status here.
      grpcStatus = headers['grpc-status'] as string | undefined
    })
    call.on('trailers', (trailers) => {
      grpcStatus = trailers['grpc-status'] as string | undefined
    })
    call.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > ANSWER_BYTES_MAX) finish(new Error('the collector does not stop to answer'))
    })
    call.on('error', finish)
    call.on('close', () =>
      finish(
        grpcStatus === '0'
          ? undefined
          : new Error(`the collector answered ${httpStatus}, gRPC ${grpcStatus}`),
      ),
    )
    const head = Buffer.alloc(GRPC_HEAD_BYTES)
    head.writeUInt32BE(body.length, 1)
    call.end(Buffer.concat([head, body]))
  })
}
