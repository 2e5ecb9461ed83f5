import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { join } from 'node:path'
import type { ProxiedNode, ProxyCommand } from './delay-proxy.js'
import { freePorts } from './server-process.js'
import type { ZoneState } from './store.js'

/** Zones of the two ends by which the proxy itself is measured. */
const OWN_ZONE = -1
const ECHO_ZONE = -2

/** The links between the zones of a cluster: the delaying proxy, seen from the benchmark. */
export class Wan {
  private constructor(
    private readonly child: ChildProcess,
    private readonly echo: net.Server,
    private readonly echoPort: number,
  ) {}

  /** @throws Error if the proxy cannot listen */
  static async open(nodes: readonly ProxiedNode[], delayMs: number, jitterMs: number): Promise<Wan> {
    const echo = net.createServer({ noDelay: true }, (socket) => {
      socket.on('error', () => {})
      socket.pipe(socket)
    })
    echo.listen(0, '127.0.0.1')
    await once(echo, 'listening')
    echo.unref()
    const [own, port] = (await freePorts(2)) as [number, number]
    const target = (echo.address() as net.AddressInfo).port
    const child = fork(join(import.meta.dirname, 'delay-proxy.js'), {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    const wan = new Wan(child, echo, port)
    const ends = [
      { port: own, target: own, zone: OWN_ZONE },
      { port, target, zone: ECHO_ZONE },
    ]
    await wan.#tell({ kind: 'open', nodes: [...ends, ...nodes], delayMs, jitterMs })
    return wan
  }

  /** Tells the proxy the nodes' pids, in order; null for a node that is down. */
  setPids(pids: readonly (number | null)[]): Promise<void> {
    return this.#tell({ kind: 'pids', pids: [process.pid, null, ...pids] })
  }

  setZone(zone: number, state: ZoneState): Promise<void> {
    return this.#tell({ kind: 'zone', zone, state })
  }

  /** Measures round trips of one byte between two zones, in ms. */
  async measureRoundTrips(count: number): Promise<number[]> {
    const socket = net.connect({ port: this.echoPort, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    const times: number[] = []
    for (let i = 0; i < count; i++) {
      const start = performance.now()
      socket.write('x')
      await once(socket, 'data')
      times.push(performance.now() - start)
    }
    socket.destroy()
    return times
  }

  close(): void {
    this.echo.close()
    this.child.kill('SIGKILL')
  }

  async #tell(command: ProxyCommand): Promise<void> {
    const answered = once(this.child, 'message') as Promise<[string | null]>
    this.child.send(command)
    const [problem] = await answered
    if (problem !== null) throw new Error(`delaying proxy: ${problem}`)
  }
}
