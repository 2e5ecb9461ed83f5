import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createSecureServer, type ServerHttp2Session } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { connect, type Socket } from 'node:net'
import type { TlsFiles } from '../config/config.js'
import type { ListenAddress } from '../config/values.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import { HttpResponse } from './http2-response.js'
import { socketMode } from './private-files.js'
import { readTlsFiles, type TlsPair, watchTlsFiles } from './tls-files.js'

/** A server that listens; `address` says where, as a URL's host part or a path. */
export interface Listening {
  server: Server
  address: string
  port: number
  /** Whether it serves TLS. */
  secure: boolean
  /** Stops listening and closes connections that serve no request; resolves when all are closed. */
  close(): Promise<void>
  closeIdleConnections(): void
  closeAllConnections(): void
}

/** TLS of a port. */
export interface ListenTls {
  files: TlsFiles
  /** Whether HTTP/2 is offered beside HTTP/1.1. */
  http2: boolean
  log: Log
  /** How often the files are looked at, in ms. */
  lookEveryMs?: number
}

/** Requests that a client may have open on one HTTP/2 connection. */
const HTTP2_STREAMS_MAX = 100
/** After which time without any traffic an HTTP/2 connection is closed, in ms. */
const HTTP2_IDLE_MS = 65_000
/**
 * Connections that may wait for the node to take them; the system's own limit (net.core.somaxconn, 4096 on Linux) holds
 * beside it. One that finds no room is not refused: its client waits for seconds until TCP tries again, where the node
 * would have answered 503 at once.
 */
const WAITING_CONNECTIONS_MAX = 4096

/**
 * Listens on a TCP address (port 0 takes a free one) or a unix socket.
 * @param tls without it, connections are not encrypted
 * @throws CarportError Conflict if the address is taken, InvalidArgument if it, or the certificate, cannot be had
 */
export async function listen(
  address: ListenAddress,
  options: object,
  attach: (server: Server) => void,
  tls?: ListenTls,
): Promise<Listening> {
  const { server, closeIdle, closeAll } = tls
    ? makeSecure(await readTlsFiles(tls.files), options, tls)
    : makePlain(options)
  attach(server)
  const text = address.kind === 'unix' ? address.path : `${address.host}:${address.port}`
  if (address.kind === 'unix') await removeStaleSocket(address.path)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'EADDRINUSE'
          ? new CarportError(
              'Conflict',
              `${text} is in use: stop the other program, or configure another address`,
            )
          : new CarportError('InvalidArgument', `cannot listen on ${text} (${error.code})`, { cause: error }),
      )
    })
    const place =
      address.kind === 'unix' ? { path: address.path } : { port: address.port, host: address.host }
    server.listen({ ...place, backlog: WAITING_CONNECTIONS_MAX }, resolve)
  })
  if (address.kind === 'unix') chmodSync(address.path, socketMode())
  const bound = server.address()
  const port = typeof bound === 'object' && bound ? bound.port : 0
  const host = address.kind === 'tcp' ? (address.host.includes(':') ? `[${address.host}]` : address.host) : ''
  const unwatch = tls && watchTlsFiles(tls.files, (pair) => setPair(server, pair), tls.log, tls.lookEveryMs)
  return {
    server,
    address: address.kind === 'tcp' ? `${host}:${port}` : address.path,
    port,
    secure: tls !== undefined,
    close: () =>
      new Promise((resolve) => {
        unwatch?.()
        server.close(() => resolve())
        closeIdle()
      }),
    closeIdleConnections: closeIdle,
    closeAllConnections: closeAll,
  }
}

interface Made {
  server: Server
  closeIdle(): void
  closeAll(): void
}

function makePlain(options: object): Made {
  const server = createServer(options)
  return {
    server,
    closeIdle: () => server.closeIdleConnections(),
    closeAll: () => server.closeAllConnections(),
  }
}

function makeSecure(pair: TlsPair, options: object, { http2 }: ListenTls): Made {
  if (!http2) {
    const server = createHttpsServer({ ...options, ...pair })
    return {
      server,
      closeIdle: () => server.closeIdleConnections(),
      closeAll: () => server.closeAllConnections(),
    }
  }
  const server = createSecureServer({
    ...options,
    ...pair,
    allowHTTP1: true,
    Http2ServerResponse: HttpResponse as never,
    settings: { maxConcurrentStreams: HTTP2_STREAMS_MAX },
  })
  const sessions = new Set<ServerHttp2Session>()
  server.on('session', (session) => {
    sessions.add(session)
    session.on('close', () => sessions.delete(session))
    // What a client does wrong ends its connection, and nothing else.
    session.on('error', () => {})
    session.setTimeout(HTTP2_IDLE_MS, () => session.close())
  })
  const sockets = new Set<Socket>()
  server.on('secureConnection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  return {
    // It has the same events, and those of HTTP/1.1 connections too.
    server: server as unknown as Server,
    closeIdle() {
      for (const session of sessions) session.close()
      ;(server as unknown as Server).closeIdleConnections()
    },
    closeAll() {
      for (const socket of sockets) socket.destroy()
    },
  }
}

function setPair(server: Server, pair: TlsPair): void {
  ;(server as unknown as { setSecureContext(pair: TlsPair): void }).setSecureContext(pair)
}

/** Removes the socket file of a program that is gone. The file of a program that answers stays, and listening fails. */
async function removeStaleSocket(path: string): Promise<void> {
  const alive = await new Promise<boolean>((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
  if (!alive) rmSync(path, { force: true })
}
