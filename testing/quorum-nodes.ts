/** A coordinator and replicas that answer, are slow or fail, as told, for tests of quorum calls. */
import { Quorum } from '../src/cluster/quorum.js'
import { CarportError } from '../src/util/errors.js'
import { FakeNet, type FakeNode, ManualClock, nodeId } from './cluster-fakes.js'

/** What a node does with a call: answer after some ms, fail after some ms. */
type Behaviour = { afterMs?: number; fails?: string }

export function quorumOf(
  names: string[],
  behaviours: Record<string, Behaviour> = {},
  rttMs: Record<string, number> = {},
) {
  const clock = new ManualClock()
  const net = new FakeNet(clock)
  const nodes = names.map((name, i) => net.add(name, { host: `10.0.0.${i + 1}`, port: 3901 }))
  const rttOf = new Map(names.map((name) => [nodeId(name), rttMs[name] ?? 2]))
  const here = nodes[0]!
  net.latencyMs = (from, to) => rttOf.get(from === here.self ? to : from)! / 2
  const served: string[] = []
  for (const [i, node] of nodes.entries()) {
    const name = names[i]!
    node.handle('test/op', (body) => {
      served.push(name)
      const { afterMs = 0, fails } = behaviours[name] ?? {}
      return new Promise((resolve, reject) => {
        clock.after(afterMs, () =>
          fails ? reject(new CarportError('RemoteError', fails)) : resolve({ body: [name, body] }),
        )
      })
    })
    if (i > 0) net.link(here.self, node.self)
  }
  const id = (name: string) => nodeId(name)
  return { clock, net, nodes, here: here as FakeNode, served, quorum: new Quorum(here, clock), id }
}

/** Follows a promise without waiting for it. */
export function watch<T>(promise: Promise<T>) {
  const state: { value?: T; error?: CarportError; settled: boolean } = { settled: false }
  promise.then(
    (value) => Object.assign(state, { value, settled: true }),
    (error) => Object.assign(state, { error, settled: true }),
  )
  return state
}

/** Who answered. */
export const names = (replies: { body: unknown }[]) => replies.map((reply) => (reply.body as [string])[0])
