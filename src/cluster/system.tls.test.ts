/** The cluster system over real TLS links on loopback, which the fakes of system.test.ts cannot show. */
import { afterEach, expect, test } from 'vitest'
import { MemoryDb } from '../../testing/memory-db.js'
import { startNode, systemRandom, type TestNode, until } from '../../testing/tls-nodes.js'
import { createIdentity } from '../net/identity.js'
import type { TlsTransportOptions } from '../net/tls-transport.js'
import { parsePeerSpec } from './address.js'
import { CLUSTER_TREE } from './peer-store.js'
import { Quorum } from './quorum.js'
import { ClusterSystem } from './system.js'

interface Member extends TestNode {
  db: MemoryDb
  quorum: Quorum
  system: ClusterSystem
  stop(): Promise<void>
}

const running = new Set<Member>()

afterEach(async () => {
  await Promise.all([...running].map((member) => member.stop()))
})

async function start(
  hostname: string,
  bootstrap: string[],
  db = new MemoryDb({ trees: [CLUSTER_TREE] }),
  transportOptions: Partial<TlsTransportOptions> = {},
): Promise<Member> {
  const node = await startNode(transportOptions)
  const { transport, clock, hlc, log, address } = node
  const quorum = new Quorum(transport, clock)
  const system = new ClusterSystem({
    transport,
    dialer: transport,
    quorum,
    db,
    clock,
    hlc,
    random: systemRandom,
    log,
    replicationFactor: 3,
    consistencyMode: 'consistent',
    bootstrapPeers: bootstrap.map(parsePeerSpec),
    hostname,
    version: '1.0.0',
    rpcPort: address.port,
    syncedTables: ['object'],
  })
  transport.handle('test/echo', (body) => ({ body }))
  const member: Member = {
    ...node,
    db,
    quorum,
    system,
    async stop() {
      running.delete(member)
      await system.stop()
      await transport.close()
      await db.close()
      member.db = db.reopen()
    },
  }
  running.add(member)
  await system.start()
  return member
}

const upPeers = ({ system }: Member) => system.peering.connected().length

test('three nodes find each other, take a layout, lose a node and get it back', async () => {
  const a = await start('a', [])
  const seed = `127.0.0.1:${a.address.port}`
  const b = await start('b', [seed])
  const identity = createIdentity(systemRandom)
  const c = await start('c', [`${a.transport.self}@${seed}`, seed], undefined, { identity })
  const members = [a, b, c]
  await until(() => members.every((m) => upPeers(m) === 2), 'the full mesh')

  await b.system.stageLayout({
    roles: members.map((m, i) => ({
      node: m.transport.self,
      role: { zone: `z${i}`, capacityBytes: 1e12, tags: [] },
    })),
  })
  expect((await b.system.applyLayout(1)).push).toEqual({ reached: 2, connected: 2 })
  expect(members.map((m) => m.system.layout.layoutVersion)).toEqual([1, 1, 1])
  await until(() => new Set(members.map((m) => m.system.layout.digest)).size === 1, 'one and the same layout')

  const call = (quorum: number) =>
    a.quorum.write(a.system.layout.writeSets(0), 'test/echo', 'x', { timeoutMs: 1000, quorum })
  expect(await call(3)).toHaveLength(3)
  await c.stop()
  await until(() => a.system.health().status === 'degraded', 'the loss of a node to be seen')
  expect(await call(2)).toHaveLength(2)
  await expect(call(3)).rejects.toMatchObject({ code: 'QuorumUnavailable' })
  await b.system.stageLayout({ parameters: { zoneRedundancy: 2 } })

  const again = await start('c', [], c.db, { identity })
  expect(again.system.layout.layoutVersion).toBe(1)
  await until(() => a.system.health().status === 'healthy', 'its return to be seen')
  await until(() => again.system.layout.digest === b.system.layout.digest, 'the missed change to arrive')
})
