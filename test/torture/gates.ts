import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { freePorts } from '../../bench/stores/server-process.js'

/**
 * What happens to connections from one node to another: `open` passes bytes on; `silent` loses all that the dialling node sends,
 * `deaf` all that it should get; `closed` ends connections and takes no new ones.
 */
export type PathState = 'open' | 'silent' | 'deaf' | 'closed'

interface Passage {
  from: string
  to: string
  inward: Socket
  outward: Socket
}

/**
 * The network between nodes: each node announces a port here instead of its own, and dials from an address of its own, by which
 * a gate knows who comes.
 */
export class Gates {
  readonly #servers: Server[] = []
  readonly #passages = new Set<Passage>()
  /** States that are not `open`, by "from>to". */
  readonly #states = new Map<string, PathState>()
  /** Names of nodes by the address that they dial from. */
  readonly #names = new Map<string, string>()

  /** Opens a gate before a node. Resolves with its port on 127.0.0.1. */
  async open(name: string, host: string, rpcPort: number): Promise<number> {
    this.#names.set(host, name)
    const [port] = await freePorts(1)
    const server = createServer({ noDelay: true, allowHalfOpen: true }, (inward) => {
      this.#pass(inward, name, host, rpcPort)
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    this.#servers.push(server)
    return port!
  }

  /** Sets how connections that `from` dialled to `to` fare: those that are there, and new ones. */
  set(from: string, to: string, state: PathState): void {
    if (state === 'open') this.#states.delete(`${from}>${to}`)
    else this.#states.set(`${from}>${to}`, state)
    for (const passage of this.#passages) {
      if (passage.from !== from || passage.to !== to) continue
      // A connection that lost bytes is of no use any more: it must end for a new one to be made.
      if (state === 'open' || state === 'closed') end(passage)
      else this.#lose(passage, state)
    }
  }

  /**
   * Cuts all paths between two nodes, whoever dialled.
   * @param silently bytes are lost without a word; else connections end
   */
  cut(one: string, other: string, silently: boolean): void {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      this.set(from, to, silently ? 'silent' : 'closed')
      if (silently) for (const passage of this.#between(from, to)) this.#lose(passage, 'deaf')
    }
  }

  /** Loses all that `from` sends to `to`, whoever dialled; the other direction stays. */
  cutOneWay(from: string, to: string): void {
    this.set(from, to, 'silent')
    this.set(to, from, 'deaf')
  }

  /** Opens all paths. */
  heal(): void {
    for (const path of [...this.#states.keys()]) {
      const [from, to] = path.split('>') as [string, string]
      this.set(from, to, 'open')
    }
  }

  close(): void {
    for (const server of this.#servers) server.close()
    for (const passage of this.#passages) end(passage)
  }

  #between(from: string, to: string): Passage[] {
    return [...this.#passages].filter((passage) => passage.from === from && passage.to === to)
  }

  #pass(inward: Socket, to: string, host: string, rpcPort: number): void {
    const from = this.#names.get(inward.remoteAddress ?? '') ?? 'operator'
    const state = this.#states.get(`${from}>${to}`) ?? 'open'
    if (state === 'closed') {
      inward.on('error', () => {})
      inward.destroy()
      return
    }
    const outward = connect({ host, port: rpcPort, noDelay: true, allowHalfOpen: true })
    const passage = { from, to, inward, outward }
    this.#passages.add(passage)
    for (const socket of [inward, outward]) {
      socket.on('error', () => end(passage))
      socket.on('close', () => {
        end(passage)
        this.#passages.delete(passage)
      })
    }
    inward.pipe(outward)
    outward.pipe(inward)
    if (state !== 'open') this.#lose(passage, state)
  }

  #lose({ inward, outward }: Passage, state: PathState): void {
    const [source, target] = state === 'silent' ? [inward, outward] : [outward, inward]
    source.unpipe(target)
    source.resume()
  }
}

function end({ inward, outward }: Passage): void {
  inward.destroy()
  outward.destroy()
}
