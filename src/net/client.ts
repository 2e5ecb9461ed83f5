import type { Clock } from '../util/clock.js'
import type { Log } from '../util/log.js'
import { dial, type NodeAddress, secureContext } from './dial.js'
import { INCARNATION_BYTES, PROTOCOL_VERSIONS, Role } from './handshake.js'
import { Link } from './link.js'
import { BatchPool } from './outbox.js'
import type { CallOptions, NodeId, RpcReply } from './transport.js'

export interface ClientOptions extends NodeAddress {
  /** rpc_secret, 32 bytes. */
  rpcSecret: Buffer
  /** The only node that is accepted; undefined accepts any. */
  expectedId?: NodeId
  clock: Clock
  log: Log
}

/** A connection to one node from a program that is no node, such as a command of the CLI. */
export interface RpcClient {
  /** The node at the other end. */
  readonly node: NodeId
  /** Tells its process from others, also from another one that claims to be the same node. */
  readonly incarnation: string
  /** As `Transport.call`. */
  call(method: string, body: unknown, options: CallOptions): Promise<RpcReply>
  /** Resolves when the socket is closed. */
  close(): Promise<void>
}

/**
 * Connects to a node as a client: without an identity of its own, only to make calls. It is no peer to the node, and
 * its clock does not count in the cluster.
 * @throws CarportError PeerUnreachable, Timeout; Conflict if another node than `expectedId` answered.
 */
export function connectAsClient(options: ClientOptions): Promise<RpcClient> {
  const { host, port, rpcSecret, expectedId, clock, log } = options
  const handshake = {
    direction: 'dialer' as const,
    role: Role.client,
    secret: rpcSecret,
    versions: PROTOCOL_VERSIONS,
    incarnation: '00'.repeat(INCARNATION_BYTES),
    dialNumber: 0,
    hlc: undefined,
    ...(expectedId === undefined ? {} : { expectedId }),
  }
  return new Promise((resolve, reject) => {
    dial({ host, port }, secureContext(undefined), clock, handshake, (connection, failure) => {
      if (!connection) return reject(failure)
      const link = new Link({
        socket: connection.socket,
        firstBytes: connection.firstBytes,
        peer: connection.peer,
        dialed: true,
        trustPeerTime: false,
        handlers: new Map(),
        clock,
        hlc: undefined,
        log,
        pool: new BatchPool(),
        onDown: () => {},
      })
      link.start()
      resolve({
        node: connection.peer,
        incarnation: connection.hello.incarnation,
        call: (method, body, callOptions) => link.call(method, body, callOptions),
        close: () => {
          link.fail('the client was closed')
          return link.closed
        },
      })
    })
  })
}
