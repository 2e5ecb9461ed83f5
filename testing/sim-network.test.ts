import { describe, expect, it } from 'vitest'
import type { CallOptions, RpcReply } from '../src/net/transport.js'
import { CarportError } from '../src/util/errors.js'
import { SeededRandom } from './seeded-random.js'
import { SimClock } from './sim-clock.js'
import { SimMachine } from './sim-machine.js'
import { SimNetwork } from './sim-network.js'

const PATH = { latencyMs: 10, jitterMs: 0, lossShare: 0, bytesPerMs: 1e9 }
const CALL: CallOptions = { timeoutMs: 3000 }

async function makeTwo(seed = 1) {
  const trace: string[] = []
  const clock = new SimClock()
  const network = new SimNetwork({
    clock,
    random: new SeededRandom(seed),
    profile: PATH,
    trace: (line) => trace.push(line),
  })
  const machines = ['a', 'b'].map(
    (name, i) =>
      new SimMachine({
        network,
        name,
        address: { host: name, port: 3901 },
        trees: ['t'],
        clockOffsetMs: i * 60_000,
      }),
  )
  const [a, b] = machines.map((machine) => machine.boot()) as [
    ReturnType<SimMachine['boot']>,
    ReturnType<SimMachine['boot']>,
  ]
  await clock.runUntil(a.transport.connect(b.address), 1000)
  return { clock, network, machines, a, b, trace }
}

const outcome = (promise: Promise<RpcReply>) =>
  promise.then(
    (reply) => reply.body,
    (error) => error.code,
  )

describe('SimNetwork', () => {
  it('carries a call there and back in the time of the path, encoded, with the HLC', async () => {
    const { clock, a, b } = await makeTwo()
    const got: unknown[] = []
    b.transport.handle('echo', (body, { from }) => {
      got.push(from, body)
      return { body }
    })
    const start = clock.monotonicMs()
    const sent = { n: 1, bytes: Buffer.from('x'), list: [null, undefined, 'ä'] }
    const reply = await clock.runUntil(a.transport.call(b.self, 'echo', sent, CALL), 1000)
    expect(clock.monotonicMs() - start).toBeCloseTo(20, 3)
    expect(got[0]).toBe(a.self)
    expect(reply.body).toEqual({ n: 1, bytes: Buffer.from('x'), list: [null, undefined, 'ä'] })
    expect(got[1]).not.toBe(sent)
    // The other node's clock is a minute ahead, and this one has heard of it.
    expect(a.hlc.now()).toBeGreaterThan((clock.nowMs() + 59_000) * 1000)
    const circular: Record<string, unknown> = { text: 'x' }
    circular.self = circular
    await expect(a.transport.call(b.self, 'echo', circular, CALL)).rejects.toMatchObject({
      code: 'InvalidArgument',
    })
  })

  it('passes codes of errors on, hides others, and times out', async () => {
    const { clock, a, b } = await makeTwo()
    b.transport.handle('conflict', () => Promise.reject(new CarportError('Conflict', 'no')))
    b.transport.handle('bug', () => {
      throw new TypeError('oops')
    })
    let aborted: unknown
    b.transport.handle('slow', (_body, { signal }) => {
      signal.addEventListener('abort', () => {
        aborted = signal.reason
      })
      return new Promise(() => {})
    })
    const codes = Promise.all(
      ['conflict', 'bug', 'unknown', 'slow'].map((m) => outcome(a.transport.call(b.self, m, null, CALL))),
    )
    expect(await clock.runUntil(codes, 4000)).toEqual(['Conflict', 'RemoteError', 'RemoteError', 'Timeout'])
    await clock.run(100)
    expect(aborted).toBeInstanceOf(CarportError)
  })

  it('delivers late what a short partition held back, and breaks the link in a long one', async () => {
    const { clock, network, a, b } = await makeTwo()
    let served = 0
    b.transport.handle('ping', () => ({ body: ++served }))
    let heal = network.partition([a.self], [b.self])
    const call = outcome(a.transport.call(b.self, 'ping', null, CALL))
    await clock.run(1000)
    expect(served).toBe(0)
    heal()
    expect(await clock.runUntil(call, 2000)).toBe(1)

    // Only one way is cut: the request arrives, the answer does not.
    heal = network.block([b.self], [a.self])
    expect(await clock.runUntil(outcome(a.transport.call(b.self, 'ping', null, CALL)), 4000)).toBe('Timeout')
    expect(served).toBe(2)
    const long = outcome(a.transport.call(b.self, 'ping', null, { timeoutMs: 60_000 }))
    expect(await clock.runUntil(long, 60_000)).toBe('PeerUnreachable')
    expect([a.transport.isConnected(b.self), b.transport.links()]).toEqual([false, []])
    expect(await clock.runUntil(outcome(a.transport.call(b.self, 'ping', null, CALL)), 1)).toBe(
      'PeerUnreachable',
    )
    const dialled = a.transport.connect(b.address).catch((error) => error.code)
    expect(await clock.runUntil(dialled, 10_000)).toBe('Timeout')
    heal()
    expect(await clock.runUntil(b.transport.connect(a.address, a.self), 1000)).toBe(a.self)
    expect(a.transport.isConnected(b.self)).toBe(true)
  })

  it('loses requests, and replies of calls that were served', async () => {
    const { clock, network, a, b } = await makeTwo()
    let served = 0
    b.transport.handle('ping', () => ({ body: ++served }))
    network.setPath(a.self, b.self, { ...PATH, lossShare: 0.5 })
    let failed = 0
    for (let i = 0; i < 200; i++) {
      const result = await clock.runUntil(outcome(a.transport.call(b.self, 'ping', null, CALL)), 4000)
      if (result === 'PeerUnreachable') failed++
    }
    expect(failed).toBeGreaterThan(70)
    expect(failed).toBeLessThan(130)
    expect(served).toBeGreaterThan(200 - failed)
    expect(served).toBeLessThan(200)
  })

  it('tells at once of a dead process, after a silence of a dead machine, and abandons their work', async () => {
    for (const what of ['process', 'machine'] as const) {
      const { clock, machines, a, b } = await makeTwo()
      const events: unknown[] = []
      a.transport.onLink(({ node, up }) => events.push([node === b.self, up]))
      let finished = false
      b.transport.handle('work', async () => {
        await new Promise<void>((resolve) => void b.clock.after(100, resolve))
        finished = true
        return { body: 'done' }
      })
      let answered = false
      void b.transport.call(a.self, 'any', null, CALL).then(
        () => {
          answered = true
        },
        () => {
          answered = true
        },
      )
      const call = outcome(a.transport.call(b.self, 'work', null, { timeoutMs: 60_000 }))
      await clock.run(15)
      machines[1]!.crash(what)
      const start = clock.monotonicMs()
      expect(await clock.runUntil(call, 60_000)).toBe('PeerUnreachable')
      expect(clock.monotonicMs() - start > 1000).toBe(what === 'machine')
      await clock.run(60_000)
      expect({ finished, answered, events }).toEqual({
        finished: false,
        answered: false,
        events: [[true, false]],
      })
      const again = machines[1]!.boot()
      expect(await clock.runUntil(a.transport.connect(again.address, again.self), 1000)).toBe(again.self)
      expect(events.at(-1)).toEqual([true, true])
    }
  })

  it('streams both ways in order, with a window, and ends a source whose reader stopped', async () => {
    const { clock, network, a, b } = await makeTwo()
    network.setPath(a.self, b.self, { ...PATH, jitterMs: 20 })
    let produced = 0
    let ended = false
    async function* numbers(count: number) {
      try {
        for (let i = 0; i < count; i++) {
          produced++
          yield Buffer.from([i])
        }
      } finally {
        ended = true
      }
    }
    b.transport.handle('double', (_body, { stream }) => {
      // Open the stream here, since a request's stream that nobody opened ends with the reply.
      const chunks = stream![Symbol.asyncIterator]()
      async function* doubled() {
        try {
          for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
            yield Buffer.from([next.value[0]! * 2])
          }
        } finally {
          await chunks.return?.()
        }
      }
      return { body: 'ok', stream: doubled() }
    })
    const read = async (stop: number) => {
      const reply = await a.transport.call(b.self, 'double', null, { ...CALL, stream: numbers(100) })
      const seen: number[] = []
      for await (const chunk of reply.stream!) {
        seen.push(chunk[0]!)
        if (seen.length === stop) break
      }
      return seen
    }
    expect(await clock.runUntil(read(1000), 60_000)).toEqual(Array.from({ length: 100 }, (_, i) => 2 * i))
    produced = 0
    ended = false
    expect(await clock.runUntil(read(3), 60_000)).toEqual([0, 2, 4])
    await clock.run(10_000)
    expect(ended).toBe(true)
    expect(produced).toBeLessThan(100)
  })

  it('fails a stream whose sender died, and one that is silent', async () => {
    const { clock, machines, a, b } = await makeTwo()
    b.transport.handle('drip', () => ({
      body: null,
      stream: (async function* () {
        yield Buffer.from('first')
        await new Promise(() => {})
      })(),
    }))
    const read = async () => {
      const reply = await a.transport.call(b.self, 'drip', null, CALL)
      for await (const _chunk of reply.stream!) {
      }
    }
    const code = () => read().catch((error) => error.code)
    expect(await clock.runUntil(code(), 10_000)).toBe('Timeout')
    const second = code()
    await clock.run(500)
    machines[1]!.crash('process')
    expect(await clock.runUntil(second, 10_000)).toBe('PeerUnreachable')
  })

  it('refuses a dial that another node answers, and finds itself', async () => {
    const { clock, a, b } = await makeTwo()
    const conflict = a.transport.connect(b.address, a.self).catch((error) => error.code)
    expect(await clock.runUntil(conflict, 1000)).toBe('Conflict')
    expect(await clock.runUntil(a.transport.connect(a.address), 1000)).toBe(a.self)
    const nobody = a.transport.connect({ host: 'nobody', port: 1 }).catch((error) => error.code)
    expect(await clock.runUntil(nobody, 1000)).toBe('PeerUnreachable')
  })
})

describe('determinism', () => {
  /** Three nodes gossip a growing set through calls, stores, partitions and crashes; returns all that happened. */
  async function run(seed: number): Promise<string[]> {
    const trace: string[] = []
    const clock = new SimClock()
    const random = new SeededRandom(seed)
    const network = new SimNetwork({
      clock,
      random: random.fork('network'),
      profile: { latencyMs: 5, jitterMs: 10, lossShare: 0.05, bytesPerMs: 1000 },
      trace: (line) => trace.push(line),
    })
    const machines = ['a', 'b', 'c'].map(
      (name) => new SimMachine({ network, name, address: { host: name, port: 1 }, trees: ['t'] }),
    )
    const boot = (machine: SimMachine) => {
      const { transport, db, clock: nodeClock, random: nodeRandom, self } = machine.boot()
      transport.handle('add', async (body) => {
        await db.transact((tx) => tx.put('t', Buffer.from(String(body)), Buffer.alloc(0)))
        return { body: [...db.keys('t')].map(String) }
      })
      const tick = async () => {
        for (const other of machines) {
          await transport.connect({ host: 'abc'[machines.indexOf(other)]!, port: 1 }).catch(() => {})
          const word = nodeRandom.bytes(2).toString('hex')
          await transport.call(other.self, 'add', word, { timeoutMs: 500 }).then(
            ({ body }) => trace.push(`${self.slice(0, 4)} ${body}`),
            (error) => trace.push(`${self.slice(0, 4)} ${error.code}`),
          )
        }
        nodeClock.after(nodeRandom.exponential(100), () => void tick())
      }
      void tick()
    }
    for (const machine of machines) boot(machine)
    for (let round = 0; round < 5; round++) {
      await clock.run(500)
      const victim = random.pick(machines)
      const heal = network.partition([machines[0]!.self], [machines[1]!.self])
      victim.crash(random.pick(['process', 'machine'] as const))
      await clock.run(1000)
      heal()
      boot(victim)
    }
    await clock.run(1000)
    return trace
  }

  it('runs a program the same way from the same seed', async () => {
    const [first, second, other] = [await run(42), await run(42), await run(43)]
    expect(first.length).toBeGreaterThan(200)
    expect(first.some((line) => line.includes('Timeout') || line.includes('PeerUnreachable'))).toBe(true)
    expect(second).toEqual(first)
    expect(other).not.toEqual(first)
  })
})
