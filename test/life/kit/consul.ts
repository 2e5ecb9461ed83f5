import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** The two calls of Consul's catalog that discovery makes: register, and list a service. */
export class Consul {
  readonly #services = new Map<string, object>()
  readonly #server: Server

  private constructor() {
    this.#server = createServer((request, response) => {
      void this.#answer(request).then((body) => {
        response.statusCode = body === undefined ? 404 : 200
        response.end(JSON.stringify(body ?? null))
      })
    })
  }

  static async listen(): Promise<Consul> {
    const consul = new Consul()
    consul.#server.listen(0, '127.0.0.1')
    await once(consul.#server, 'listening')
    return consul
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  async #answer(request: IncomingMessage): Promise<unknown> {
    if (request.method === 'PUT' && request.url === '/v1/catalog/register') {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      const entry = JSON.parse(Buffer.concat(chunks).toString()) as {
        Node: string
        Address: string
        Service: { Service: string; Address: string; Port: number; Meta: Record<string, string> }
      }
      const { Address, Port, Meta } = entry.Service
      const listed = { Node: entry.Node, Address: entry.Address, ServiceAddress: Address, ServicePort: Port }
      this.#services.set(entry.Node, { ...listed, ServiceMeta: Meta })
      return true
    }
    if (request.url === '/v1/catalog/service/carport') return [...this.#services.values()]
    return undefined
  }
}
