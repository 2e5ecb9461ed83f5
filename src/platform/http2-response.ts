import type { OutgoingHttpHeader } from 'node:http'
import { Http2ServerResponse } from 'node:http2'

/** Headers about a connection, which HTTP/2 does not have. */
const OF_CONNECTIONS: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'transfer-encoding'])

/** An answer over HTTP/2 that can be used as one of node:http is used here. */
export class HttpResponse extends Http2ServerResponse {
  /** Ends the stream at once; the connection goes on. */
  override destroy(): this {
    this.stream.destroy()
    return this
  }

  /** @param headers names and values in turn */
  override writeHead(status: number, headers?: unknown): this {
    const kept: OutgoingHttpHeader[] = []
    const given = headers as OutgoingHttpHeader[]
    for (let i = 0; i < given.length; i += 2) {
      if (!OF_CONNECTIONS.has(String(given[i]).toLowerCase())) kept.push(given[i]!, given[i + 1]!)
    }
    return super.writeHead(status, kept as never)
  }
}

// Some versions of Node leave these out, though the types have them.
Object.defineProperties(HttpResponse.prototype, {
  destroyed: {
    get(this: Http2ServerResponse) {
      return this.stream.destroyed
    },
  },
  shouldKeepAlive: { value: true },
})
