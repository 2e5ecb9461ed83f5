import { once } from 'node:events'
import { get } from 'node:http'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

interface Backend {
  host: string
  port: number
  healthy: boolean
  /** It keeps its connections and gets no new ones. */
  leaves: boolean
  readonly clients: Set<Socket>
}

const CHECK_EVERY_MS = 500

/**
 * One endpoint before all nodes, as users have it: passes TCP connections to the nodes in turn, the next one if a node
 * refuses. It looks at each node's S3 port as HAProxy's `option httpchk` does (200 and 403 are answers of a node that serves), and
 * closes the connections to one that does not.
 */
export class Balancer {
  readonly #server: Server
  readonly #backends = new Map<string, Backend>()
  #next = 0
  #timer: NodeJS.Timeout | undefined

  private constructor() {
    this.#server = createServer((client) => void this.#serve(client))
  }

  static async listen(): Promise<Balancer> {
    const balancer = new Balancer()
    balancer.#server.listen(0, '127.0.0.1')
    await once(balancer.#server, 'listening')
    balancer.#timer = setInterval(() => balancer.#check(), CHECK_EVERY_MS)
    return balancer
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Adds a node, or gives it another address; it gets connections once a look found that it serves. */
  add(name: string, host: string, port: number): void {
    this.#backends.set(name, { host, port, healthy: false, leaves: false, clients: new Set() })
  }

  /** Gives a node no new connections; those that it has go on. */
  drain(name: string): void {
    this.#backends.get(name)!.leaves = true
  }

  remove(name: string): void {
    const backend = this.#backends.get(name)
    this.#backends.delete(name)
    for (const client of backend?.clients ?? []) client.destroy()
  }

  close(): void {
    clearInterval(this.#timer)
    this.#server.close()
    for (const name of [...this.#backends.keys()]) this.remove(name)
  }

  #check(): void {
    for (const backend of this.#backends.values()) {
      const { host, port } = backend
      const request = get({ host, port, agent: false, timeout: 5_000 }, (response) => {
        response.resume()
        this.#mark(backend, response.statusCode === 200 || response.statusCode === 403)
      })
      request.on('timeout', () => request.destroy())
      request.on('error', () => this.#mark(backend, false))
    }
  }

  #mark(backend: Backend, healthy: boolean): void {
    backend.healthy = healthy
    if (!healthy) for (const client of backend.clients) client.destroy()
  }

  async #serve(client: Socket): Promise<void> {
    client.on('error', () => client.destroy())
    const all = [...this.#backends.values()]
    const start = this.#next++
    const inTurn = all.map((_, i) => all[(start + i) % all.length]!)
    for (const backend of inTurn.filter(({ healthy, leaves }) => healthy && !leaves)) {
      const upstream = await dial(backend)
      if (!upstream) continue
      if (client.destroyed) {
        upstream.destroy()
        return
      }
      backend.clients.add(client)
      const end = () => {
        backend.clients.delete(client)
        client.destroy()
        upstream.destroy()
      }
      for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
      client.pipe(upstream)
      upstream.pipe(client)
      return
    }
    client.destroy()
  }
}

function dial({ host, port }: Backend): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, noDelay: true })
    socket.once('connect', () => resolve(socket))
    socket.once('error', () => resolve(undefined))
  })
}
