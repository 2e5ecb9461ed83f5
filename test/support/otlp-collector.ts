import { once } from 'node:events'
import { createServer as createHttp, type Server } from 'node:http'
import { createServer as createHttp2, type Http2Server, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'

/** A span as a collector gets it. Ids are hexadecimal; the parent of a root is ''. */
export interface ReceivedSpan {
  service: string
  instance: string
  traceId: string
  spanId: string
  parentId: string
  name: string
  startNs: bigint
  endNs: bigint
  attributes: Record<string, string | number | boolean>
  failed: boolean
}

/** A collector of OpenTelemetry that keeps the spans that it gets, over gRPC or over HTTP, in protobuf. */
export class OtlpCollector {
  readonly spans: ReceivedSpan[] = []
  /** The bytes of all requests, to look for what must not be in them. */
  readonly bytes: Buffer[] = []
  #server: Server | Http2Server | undefined

  /** Listens on a free port; resolves with the URL to send spans to. */
  async start(protocol: 'grpc' | 'http'): Promise<string> {
    const server = protocol === 'grpc' ? this.#grpc() : this.#http()
    this.#server = server
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    return `http://127.0.0.1:${port}${protocol === 'grpc' ? '' : '/v1/traces'}`
  }

  stop(): void {
    this.#server?.close()
  }

  #grpc(): Http2Server {
    const server = createHttp2()
    server.on('stream', (stream: ServerHttp2Stream, headers) => {
      const parts: Buffer[] = []
      stream.on('data', (part: Buffer) => parts.push(part))
      stream.on('end', () => {
        const isExport =
          headers[':path'] === '/opentelemetry.proto.collector.trace.v1.TraceService/Export' &&
          headers['content-type'] === 'application/grpc'
        const body = Buffer.concat(parts)
        const isWhole = body.length >= 5 && body[0] === 0 && body.readUInt32BE(1) === body.length - 5
        if (isExport && isWhole) this.#take(body.subarray(5))
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
        stream.on('wantTrailers', () =>
          stream.sendTrailers({ 'grpc-status': isExport && isWhole ? '0' : '3' }),
        )
        stream.end(Buffer.alloc(5))
      })
    })
    return server
  }

  #http(): Server {
    return createHttp((request, response) => {
      const parts: Buffer[] = []
      request.on('data', (part: Buffer) => parts.push(part))
      request.on('end', () => {
        if (request.method === 'POST' && request.url === '/v1/traces') this.#take(Buffer.concat(parts))
        response.end()
      })
    })
  }

  #take(request: Buffer): void {
    this.bytes.push(request)
    for (const resourceSpans of messages(request, 1)) {
      const resource = attributes(messages(resourceSpans, 1)[0]!, 1)
      for (const scopeSpans of messages(resourceSpans, 2)) {
        for (const span of messages(scopeSpans, 2)) {
          this.spans.push({
            service: String(resource['service.name']),
            instance: String(resource['service.instance.id']),
            traceId: hex(span, 1),
            spanId: hex(span, 2),
            parentId: hex(span, 4),
            name: String(messages(span, 5)[0]),
            startNs: fields(span).find(({ field }) => field === 7)!.value as bigint,
            endNs: fields(span).find(({ field }) => field === 8)!.value as bigint,
            attributes: attributes(span, 9),
            failed: messages(span, 15).some((status) =>
              fields(status).some(({ field, value }) => field === 3 && value === 2n),
            ),
          })
        }
      }
    }
  }
}

interface Field {
  field: number
  value: Buffer | bigint
}

/** The fields of a message of Protocol Buffers, undescribed: varints and fixed 64-bit numbers as bigint. */
function fields(message: Buffer): Field[] {
  const found: Field[] = []
  let at = 0
  const varint = () => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++]!
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return value
    }
  }
  while (at < message.length) {
    const key = Number(varint())
    const field = key >> 3
    const kind = key & 7
    if (kind === 0) found.push({ field, value: varint() })
    else if (kind === 1) {
      found.push({ field, value: message.readBigUInt64LE(at) })
      at += 8
    } else if (kind === 2) {
      const length = Number(varint())
      found.push({ field, value: message.subarray(at, at + length) })
      at += length
    } else if (kind === 5) at += 4
    else throw new Error(`a field of the unknown kind ${kind}`)
  }
  return found
}

function messages(message: Buffer, wanted: number): Buffer[] {
  return fields(message).flatMap(({ field, value }) =>
    field === wanted && value instanceof Buffer ? [value] : [],
  )
}

function hex(message: Buffer, field: number): string {
  return messages(message, field)[0]?.toString('hex') ?? ''
}

function attributes(message: Buffer, field: number): ReceivedSpan['attributes'] {
  return Object.fromEntries(
    messages(message, field).map((pair) => {
      const [any] = fields(messages(pair, 2)[0]!)
      const { field: kind, value } = any!
      return [
        String(messages(pair, 1)[0]),
        value instanceof Buffer ? value.toString() : kind === 2 ? value === 1n : Number(value),
      ]
    }),
  )
}
