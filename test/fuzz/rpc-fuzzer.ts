import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { secureContext } from '../../src/net/dial.js'
import { ALPN_PROTOCOL, encodeHello, Role, Verdict } from '../../src/net/handshake.js'
import { createIdentity } from '../../src/net/identity.js'
import { systemRandom } from '../../src/platform/clock-and-random.js'
import type { FuzzCluster } from './fuzz-cluster.js'
import { asError, type PortFuzzer, UnexpectedAnswer } from './port-fuzzer.js'

/** A node may keep strangers that say nothing for ten seconds, and needs as long again on a busy machine. */
const CLOSED_MS_MAX = 60_000
const AT_ONCE = 10

const junk = fc.uint8Array({ minLength: 1, maxLength: 5000 }).map((bytes) => Buffer.from(bytes))
const stranger = fc.record({
  kind: fc.constantFrom(
    'bytes',
    'bytes',
    'http',
    'tls',
    'other-alpn',
    'hello',
    'hello',
    'changed-hello',
    'leaves',
  ),
  junk,
  at: fc.nat(67),
  verdict: fc.constantFrom(...Object.values(Verdict), 200),
  role: fc.constantFrom(...Object.values(Role), 200),
  versions: fc.record({ min: fc.nat(0xffff), max: fc.nat(0xffff) }),
  hlcUs: fc.constantFrom(0, -1, Number.NaN, Number.MAX_VALUE, 2 ** 60),
})
type Stranger = typeof stranger extends fc.Arbitrary<infer S> ? S : never

/** The port that nodes use among themselves: strangers without the cluster's secret, who must be dropped and change nothing. */
export class RpcFuzzer implements PortFuzzer {
  readonly name = 'rpc'
  readonly #context = secureContext(createIdentity(systemRandom))
  #requests = 0

  constructor(private readonly cluster: FuzzCluster) {}

  async *run(seed: number): AsyncGenerator<number> {
    const strangers = fc.sample(stranger, { seed, numRuns: 4 * AT_ONCE })
    while (strangers.length > 0) {
      // Some are kept for seconds: several come at a time.
      const visits = strangers.splice(0, AT_ONCE).map(async (one) => {
        const { ports } = this.cluster.nodes[this.#requests++ % this.cluster.nodes.length]!
        try {
          await this.#visit(ports.rpc, one)
        } catch (error) {
          throw new UnexpectedAnswer(asError(error).message, { ...one, junk: one.junk.toString('hex') }, seed)
        }
      })
      const ended = await Promise.allSettled(visits)
      for (const visit of ended) {
        if (visit.status === 'rejected') throw visit.reason
        yield 0
      }
    }
  }

  async #visit(port: number, one: Stranger): Promise<void> {
    const { kind } = one
    if (kind === 'leaves' || kind === 'bytes' || kind === 'http') {
      const socket = connectTcp(port, '127.0.0.1')
      const sent = kind === 'http' ? Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n') : one.junk
      // A first byte that begins a TLS record makes the node wait for the rest.
      if (kind === 'bytes') sent[0] = 0x00
      socket.write(sent)
      if (kind === 'leaves') socket.end()
      return closed(socket)
    }
    const socket = connectTls({
      ...{ port, host: '127.0.0.1', secureContext: this.#context, rejectUnauthorized: false },
      ALPNProtocols: [kind === 'other-alpn' ? 'h2' : ALPN_PROTOCOL],
      minVersion: 'TLSv1.3',
    })
    socket.once('secureConnect', () => socket.write(this.#firstMessage(socket, one)))
    return closed(socket)
  }

  #firstMessage(
    socket: TLSSocket,
    { kind, junk: bytes, at, verdict, role, versions, hlcUs }: Stranger,
  ): Buffer {
    // A hello is known by its magic: other bytes are refused at once, and a long one is waited for.
    if (!kind.endsWith('hello')) {
      bytes[0] = 0
      return bytes
    }
    const hello = encodeHello(
      {
        verdict: verdict as Verdict,
        role: role as Role,
        versions,
        incarnation: '00'.repeat(8),
        dialNumber: at,
        hlcUs,
      },
      'dialer',
      Buffer.alloc(32, 1),
      socket,
    )
    if (kind === 'changed-hello') hello[10 + (at % (hello.length - 10))] = bytes[0]!
    return Buffer.concat([hello, bytes])
  }
}

/** Resolves when the other side closed the connection. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error(`a stranger is not dropped within ${CLOSED_MS_MAX} ms`))
    }, CLOSED_MS_MAX)
    socket.on('error', () => {})
    socket.resume()
    socket.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
