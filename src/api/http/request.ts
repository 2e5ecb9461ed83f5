import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { ownText } from '../../util/text.js'
import type { BodyReader } from './body-reader.js'
import { Query } from './query.js'
import { splitTarget } from './target.js'
import type { Client, TrustedProxies } from './trusted-proxies.js'

const NO_QUERY = new Query('')
const NO_HEADERS: string[] = []

/** The last headers of a request that was parked: most of those that wait have the same. */
let lastParked: IncomingHttpHeaders = {}

function parkedHeaders({ host, origin }: IncomingHttpHeaders): IncomingHttpHeaders {
  if (lastParked.host !== host || lastParked.origin !== origin) {
    lastParked = { ...(host !== undefined && { host }), ...(origin !== undefined && { origin }) }
  }
  return lastParked
}

/**
 * The part of a request that all protocols share; each protocol extends it. Values that are costly to make
 * are made at the first access.
 */
export class HttpRequest {
  readonly method: string
  /** The path as sent. */
  rawPath: string
  /** The query as sent, without "?". */
  rawQuery: string
  /** Headers as node:http has them: names in lower case, characters are bytes. */
  headers: IncomingHttpHeaders
  query: Query
  /** The front sets it. */
  onPark: (() => void) | undefined
  #abort: AbortController | undefined
  #waiting: { end(): void } | undefined
  #client: Client | undefined

  constructor(
    protected readonly message: IncomingMessage,
    protected readonly response: ServerResponse,
    readonly reader: BodyReader,
    readonly requestId: string,
    /** Arrival: wall clock, milliseconds since the epoch. */
    readonly timeMs: number,
    protected readonly proxies: TrustedProxies | undefined,
  ) {
    const { rawPath, rawQuery } = splitTarget(message.url ?? '/')
    this.method = message.method ?? 'GET'
    this.rawPath = rawPath
    this.rawQuery = rawQuery
    this.headers = message.headers
    this.query = new Query(rawQuery)
  }

  /**
   * Gives the place of a request among those that are served to another one: this one only waits from now on, for as long as
   * minutes, and its answer will be short. Whoever calls it bounds how many such requests there are. To cost little memory
   * it lets go of what was sent: of its headers, only those are left on which the answer and its record depend.
   */
  park(): void {
    this.#clientOf()
    this.query = NO_QUERY
    this.rawQuery = ''
    this.rawPath = ownText(this.rawPath)
    const { message } = this
    this.headers = parkedHeaders(this.headers)
    message.headers = this.headers
    message.rawHeaders = NO_HEADERS
    message.rawTrailers = NO_HEADERS
    message.url = ''
    this.onPark?.()
    this.onPark = undefined
  }

  /** Ends a wait, of which a request has one, when the connection is over; costs less than `signal`. */
  onClose(waiting: { end(): void }): void {
    if (this.response.destroyed) waiting.end()
    else this.#waiting = waiting
  }

  /** The front calls it when the answer was sent or the connection closed. */
  closed(): void {
    this.#waiting?.end()
    this.#waiting = undefined
  }

  /** The connection. */
  get socket(): Socket {
    return this.message.socket
  }

  /** Names and values in turn, as sent. */
  get rawHeaders(): readonly string[] {
    return this.message.rawHeaders
  }

  /** The protocol's name for the operation; undefined until it is known. */
  get operationName(): string | undefined {
    return undefined
  }

  /** The bucket's name or alias in the request; undefined when the request is about no bucket. */
  get bucket(): string | undefined {
    return undefined
  }

  /** The access key or token that authenticated the request; undefined for an anonymous one. */
  get keyId(): string | undefined {
    return undefined
  }

  /** Aborts when the client goes away before the answer is complete. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      const abort = new AbortController()
      this.#abort = abort
      if (this.response.destroyed && !this.response.writableFinished) abort.abort()
      else {
        this.response.on('close', () => {
          if (!this.response.writableFinished) abort.abort()
        })
      }
    }
    return this.#abort.signal
  }

  /** The client's address, as the connection or a trusted proxy tells it. */
  get remoteAddress(): string {
    return this.#clientOf().address
  }

  /** Whether the request came by TLS, to this node or to a trusted proxy. */
  get secure(): boolean {
    return this.#clientOf().secure ?? (this.message.socket as { encrypted?: boolean }).encrypted === true
  }

  /** The version of TLS that the client speaks, such as "1.3"; undefined without TLS, and where a proxy ends it. */
  get tlsVersion(): string | undefined {
    if (this.#clientOf().secure !== undefined) return undefined
    const protocol = (this.message.socket as Partial<TLSSocket>).getProtocol?.()
    return /^TLSv(\d+(?:\.\d+)?)$/.exec(protocol ?? '')?.[1]
  }

  #clientOf(): Client {
    if (!this.#client) {
      const peer = this.message.socket.remoteAddress ?? ''
      // Not this.headers, which a form's fields may stand for.
      this.#client = this.proxies?.clientOf(peer, this.message.headers) ?? {
        address: peer,
        secure: undefined,
      }
    }
    return this.#client
  }
}
