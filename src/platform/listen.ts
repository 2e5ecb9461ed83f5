import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { connect } from 'node:net'
import type { ListenAddress } from '../config/values.js'
import { CarportError } from '../util/errors.js'
import { socketMode } from './private-files.js'

/** A server that listens; `address` says where, as a URL's host part or a path. */
export interface Listening {
  server: Server
  address: string
  port: number
  /** Stops listening and closes connections that serve no request; resolves when all are closed. */
  close(): Promise<void>
}

/**
 * Listens on a TCP address (port 0 takes a free one) or a unix socket.
 * @throws CarportError Conflict if the address is taken, InvalidArgument if it cannot be had
 */
export async function listen(
  address: ListenAddress,
  options: object,
  attach: (server: Server) => void,
): Promise<Listening> {
  const server = createServer(options)
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
    if (address.kind === 'unix') server.listen(address.path, resolve)
    else server.listen({ port: address.port, host: address.host, backlog: 1024 }, resolve)
  })
  if (address.kind === 'unix') chmodSync(address.path, socketMode())
  const bound = server.address()
  const port = typeof bound === 'object' && bound ? bound.port : 0
  const host = address.kind === 'tcp' ? (address.host.includes(':') ? `[${address.host}]` : address.host) : ''
  return {
    server,
    address: address.kind === 'tcp' ? `${host}:${port}` : address.path,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeIdleConnections()
      }),
  }
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
