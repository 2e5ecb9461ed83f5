import net from 'node:net'
import { ownerOfConnection } from '../proc.js'
import type { ZoneState } from './store.js'

// A user-space WAN between the nodes of a cluster, in a separate process. Every node announces the address where
// this proxy listens for it; the process that owns a connection's other end tells which node connects.

/** The delay of a slow zone's link, one way, in ms: round trips take 500 ms. */
const SLOW_MS = 250

export interface ProxiedNode {
  /** The port where the proxy listens. */
  port: number
  /** The port where the node itself listens. */
  target: number
  zone: number
}

export type ProxyCommand =
  | { kind: 'open'; nodes: ProxiedNode[]; delayMs: number; jitterMs: number }
  /** Pids of the nodes, in their order; a node that is down has none. */
  | { kind: 'pids'; pids: (number | null)[] }
  | { kind: 'zone'; zone: number; state: ZoneState }

let nodes: ProxiedNode[] = []
let pids: (number | null)[] = []
let delayMs = 0
let jitterMs = 0
const zones = new Map<number, ZoneState>()

/** One-way delay in ms of what is sent now between two zones; undefined: it is lost. */
function delayOf(from: number | undefined, to: number): number | undefined {
  const states = [from === undefined ? 'normal' : zones.get(from), zones.get(to)]
  // The command line is no node: it sits beside the node that it talks to, without a delay.
  if (from === undefined || from === to) return 0
  if (states.includes('silent')) return undefined
  const slow = states.includes('slow')
  const [middle, spread] = slow ? [SLOW_MS, (SLOW_MS * jitterMs) / Math.max(1, delayMs)] : [delayMs, jitterMs]
  return middle + (Math.random() * 2 - 1) * spread
}

/** Passes bytes on in order, each chunk after its delay. */
function pipe(from: net.Socket, to: net.Socket, delayNow: () => number | undefined): void {
  const queue: { at: number; chunk: Buffer | null }[] = []
  let last = 0
  let armed = false
  let lost = false
  const arm = (at: number) => {
    armed = true
    setTimeout(flush, Math.max(1, at - performance.now()))
  }
  const flush = () => {
    armed = false
    const now = performance.now()
    while (queue.length > 0 && queue[0]!.at <= now + 0.5) {
      const { chunk } = queue.shift()!
      if (!chunk) to.end()
      else if (!to.destroyed) to.write(chunk)
    }
    if (queue.length > 0) arm(queue[0]!.at)
  }
  const push = (chunk: Buffer | null) => {
    const wait = lost ? undefined : delayNow()
    if (wait === undefined) {
      // Bytes after a lost one never arrive either.
      lost = true
      return
    }
    if (wait === 0 && queue.length === 0) {
      if (chunk) to.write(chunk)
      else to.end()
      return
    }
    last = Math.max(last, performance.now() + wait)
    queue.push({ at: last, chunk })
    if (!armed) arm(last)
  }
  from.on('data', push)
  from.on('end', () => push(null))
  from.on('error', () => to.destroy())
  from.on('close', () => {
    if (!lost) setTimeout(() => to.destroy(), SLOW_MS * 3)
  })
}

function serve(node: ProxiedNode): Promise<void> {
  const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (inward) => {
    const known = pids.filter((pid) => pid !== null)
    const owner = ownerOfConnection(inward.remotePort ?? 0, node.port, known)
    const from = owner === undefined ? undefined : nodes[pids.indexOf(owner)]?.zone
    const delayNow = () => delayOf(from, node.zone)
    const outward = net.connect({
      ...{ port: node.target, host: '127.0.0.1', noDelay: true, allowHalfOpen: true },
    })
    pipe(inward, outward, delayNow)
    pipe(outward, inward, delayNow)
  })
  return new Promise((resolve, reject) => {
    server.on('error', reject)
    server.listen(node.port, '127.0.0.1', resolve)
  })
}

async function obey(command: ProxyCommand): Promise<void> {
  if (command.kind === 'open') {
    nodes = command.nodes
    delayMs = command.delayMs
    jitterMs = command.jitterMs
    await Promise.all(nodes.map(serve))
  } else if (command.kind === 'pids') pids = command.pids
  else zones.set(command.zone, command.state)
}

process.on('message', (command: ProxyCommand) => {
  obey(command).then(
    () => process.send!(null),
    (error: Error) => process.send!(error.message),
  )
})
process.on('disconnect', () => process.exit(0))
