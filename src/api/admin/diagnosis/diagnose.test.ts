import { expect, test } from 'vitest'
import {
  cluster,
  IDS,
  layoutOf,
  machine,
  node,
  report,
  stopped,
  volume,
} from '../../../../testing/diagnosis-facts.js'
import { diagnoseCluster, diagnoseStopped } from './diagnose.js'
import type { ClusterFacts, Finding, NodeDiagnostics } from './facts.js'
import { isSick } from './findings.js'

const [A, B, C] = IDS as [string, string, string]
const D = 'dd'.repeat(32)

/** The names of what was found, without mere remarks. */
const names = (findings: readonly Finding[]) =>
  findings.filter(({ severity }) => severity !== 'info').map(({ check }) => check)
const found = (values: Partial<ClusterFacts>) => names(diagnoseCluster(cluster(values)))
/** A cluster whose second node says something else of itself. */
const saying = (values: Partial<NodeDiagnostics>) => ({
  reports: { ...cluster().reports, [B]: report(B, values) },
})

test('a healthy cluster has no findings but remarks, and is not sick', () => {
  const findings = diagnoseCluster(cluster())
  expect(names(findings)).toEqual([])
  expect(findings.map(({ check }) => check)).toEqual(['no-spare-node'])
  expect(isSick(findings)).toBe(false)
})

test('every finding says which node it is about, and what helps', () => {
  const sick = cluster({
    ...saying({ machine: machine({ volumes: [volume({ available: 0 })] }) }),
    nodes: [node(A), node(B), node(C, { isUp: false, lastSeenSecsAgo: 7200 })],
  })
  const findings = diagnoseCluster(sick)
  expect(findings.map(({ check, node: about }) => [check, about])).toEqual([
    ['node-unreachable', C],
    ['disk-full', B],
    ['no-spare-node', null],
  ])
  expect(findings[0]!.message).toMatch(/last seen 2 hours ago/)
  for (const { help } of findings) expect(help).toMatch(/carport|add a folder|start it/)
})

// ---- The machine ----

test.each([
  ['configuration', '/etc/carport.toml', 0o644, 'chmod 600 /etc/carport.toml'],
  ['secret', '/etc/rpc_secret', 0o640, 'chmod 600 /etc/rpc_secret'],
  ['nodeKey', '/meta/node_key.pem', 0o604, 'chmod 600 /meta/node_key.pem'],
  ['metadata', '/meta', 0o755, 'chmod 700 /meta'],
  ['snapshots', '/snap', 0o711, 'chmod 700 /snap'],
] as const)('others who may read the %s are found', (what, path, mode, help) => {
  const [finding] = diagnoseCluster(
    cluster(saying({ machine: machine({ secrets: [{ what, path, mode }] }) })),
  )
  expect(finding).toMatchObject({ severity: 'error', check: 'secret-readable', node: B, help })
  expect(finding!.message).toContain(`0${mode.toString(8)}`)
})

test.each([
  ['plenty of space', {}, []],
  ['less than the reserve', { available: 200e6 }, ['disk-full']],
  ['a few per cent', { available: 30e9 }, ['disk-nearly-full']],
  ['little, of a small disk that is half empty', { available: 1e9, total: 1.5e9 }, []],
  ['no space, but read only', { available: 0, readOnly: true }, []],
  ['an fsync of 150 ms', { fsyncMs: 150 }, ['disk-slow']],
  ['an fsync of a second', { fsyncMs: 1000 }, ['disk-slow']],
  ['ENOSPC at once', { problem: 'ENOSPC', fsyncMs: null }, ['disk-full']],
  ['EIO', { problem: 'EIO', fsyncMs: null }, ['disk-unusable']],
  ['another disk mounted', { lost: true }, ['data-folder-lost']],
] as const)('a disk with %s', (_, values, expected) => {
  expect(found(saying({ machine: machine({ volumes: [volume(values)] }) }))).toEqual(expected)
})

test('a slow disk is an error when it is very slow', () => {
  const at = (fsyncMs: number) =>
    diagnoseCluster(cluster(saying({ machine: machine({ volumes: [volume({ fsyncMs })] }) })))[0]!.severity
  expect([at(150), at(600)]).toEqual(['warning', 'error'])
})

test.each([
  ['none wanted', { count: 0, newestSecsAgo: null, intervalSecs: null }, 1e6, []],
  ['one in time', { count: 2, newestSecsAgo: 5000, intervalSecs: 3600 }, 1e6, []],
  ['one that is late', { count: 2, newestSecsAgo: 9000, intervalSecs: 3600 }, 1e6, ['snapshot-late']],
  ['none at all', { count: 0, newestSecsAgo: null, intervalSecs: 3600 }, 1e6, ['snapshot-late']],
  ['none yet, after a start', { count: 0, newestSecsAgo: null, intervalSecs: 3600 }, 600, []],
] as const)('snapshots: %s', (_, snapshots, uptimeSecs, expected) => {
  expect(found(saying({ machine: machine({ snapshots }), uptimeSecs }))).toEqual(expected)
})

// ---- The nodes ----

test.each([
  ['down for an hour', { isUp: false, lastSeenSecsAgo: 3600 }, ['node-unreachable']],
  ['never seen', { isUp: false, lastSeenSecsAgo: null }, ['node-unreachable']],
  ['down for days', { isUp: false, lastSeenSecsAgo: 300_000 }, ['node-forgotten']],
  ['down and without a role', { isUp: false, lastSeenSecsAgo: 300_000, role: null }, []],
] as const)('a node that is %s', (_, values, expected) => {
  expect(found({ nodes: [node(A), node(B), node(C, values)] })).toEqual(expected)
})

test('a node without a role is remarked, and one that is silent is an error', () => {
  const findings = diagnoseCluster(
    cluster({ nodes: [node(A), node(B), node(C), node(D, { role: null })], unanswered: { [B]: 'Timeout' } }),
  )
  expect(findings.find(({ check }) => check === 'node-without-role')).toMatchObject({
    node: D,
    severity: 'info',
  })
  expect(findings.find(({ check }) => check === 'node-silent')).toMatchObject({ node: B, severity: 'error' })
})

test('partitions without a quorum are found', () => {
  const health = { ...cluster().health, status: 'unavailable', partitionsQuorum: 100 } as const
  expect(found({ health })).toEqual(['quorum-lost'])
  expect(found({ health: { ...health, status: 'degraded' } })).toEqual([])
})

test('two nodes that do not see each other, though both are up, are found once', () => {
  const without = (id: string, other: string) =>
    report(id, {
      peers: report(id).peers.map((peer) => (peer.id === other ? { ...peer, isUp: false } : peer)),
    })
  const reports = { [A]: report(A), [B]: without(B, C), [C]: without(C, B) }
  const findings = diagnoseCluster(cluster({ reports }))
  expect(names(findings)).toEqual(['nodes-cut-off'])
  expect(findings[0]!.message).toContain(C.slice(0, 16))
})

test('two processes with one key are found by their answers; two addresses of one process are not', () => {
  const probe = (address: string, incarnation: string) => ({ address, id: B, incarnation, error: null })
  const same = [...cluster().probes, probe('192.0.2.7:3901', 'process-bb')]
  expect(found({ probes: same })).toEqual([])
  const other = [...cluster().probes, probe('192.0.2.7:3901', 'process-of-a-copy')]
  const [finding] = diagnoseCluster(cluster({ probes: other }))
  expect(finding).toMatchObject({ check: 'node-duplicated', node: B })
  expect(finding!.message).toContain('192.0.2.7:3901 and bb.example.org:3901')
})

test('another node at the address of one that is down is found', () => {
  const probes = cluster().probes.map((probe) =>
    probe.id === C ? { ...probe, id: D, incarnation: 'new' } : probe,
  )
  const nodes = [node(A), node(B), node(C, { isUp: false, lastSeenSecsAgo: 60 }), node(D, { role: null })]
  const findings = diagnoseCluster(cluster({ probes, nodes }))
  expect(names(findings)).toEqual(['node-unreachable', 'node-replaced'])
  expect(findings[1]!.help).toContain(`--replace ${C.slice(0, 16)} ${D.slice(0, 16)}`)
  // The old address of a node that is up elsewhere says nothing.
  expect(found({ probes, nodes: [node(A), node(B), node(C), node(D, { role: null })] })).toEqual([])
})

test('different versions, settings and layouts are found, with who has which', () => {
  expect(found({ nodes: [node(A), node(B, { garageVersion: '0.2.0' }), node(C)] })).toEqual([
    'versions-differ',
  ])
  expect(
    found({ nodes: [node(A), node(B), node(C, { garageVersion: '0.1.0', isUp: false, role: null })] }),
  ).toEqual([])
  const [finding] = diagnoseCluster(cluster(saying({ consistencyMode: 'degraded' })))
  expect(finding!.message).toContain(`degraded (${B.slice(0, 16)})`)
  expect(found(saying({ replicationFactor: 2 }))).toEqual(['settings-differ'])
  expect(found(saying({ layoutVersion: 0 }))).toEqual(['layouts-differ'])
})

test.each([
  ['right', { clockOffMs: 300 }, []],
  ['three seconds ahead', { clockOffMs: 3000 }, ['clock-off']],
  ['three seconds behind', { clockOffMs: -3000 }, ['clock-off']],
  ['in doubt', { clockOffMs: 90_000, clockDoubt: 'it is 90 s ahead' }, ['clock-wrong']],
  ['unknown', { clockOffMs: null }, []],
] as const)('a clock that is %s', (_, values, expected) => {
  expect(found({ nodes: [node(A), node(B, values), node(C)] })).toEqual(expected)
})

// ---- The layout ----

test('a cluster without a layout stores nothing', () => {
  expect(found({ layout: undefined })).toEqual(['layout-missing'])
})

test.each([
  ['three zones', { [A]: 'z1:1e12', [B]: 'z2:1e12', [C]: 'z3:1e12' }, []],
  ['two zones', { [A]: 'z1:1e12', [B]: 'z1:1e12', [C]: 'z2:1e12' }, ['zone-not-survived']],
  ['one zone', { [A]: 'z1:1e12', [B]: 'z1:1e12', [C]: 'z1:1e12' }, []],
  ['a small zone', { [A]: 'z1:1e12', [B]: 'z2:1e12', [C]: 'z3:1e11' }, ['capacity-unbalanced']],
] as const)('a layout with %s', (_, roles, expected) => {
  expect(found({ layout: layoutOf(roles) })).toEqual(expected)
})

test('the zone that is not survived is named; one zone only is remarked', () => {
  const two = diagnoseCluster(
    cluster({ layout: layoutOf({ [A]: 'z1:1e12', [B]: 'z1:1e12', [C]: 'z2:1e12' }) }),
  )
  expect(two[0]!.message).toMatch(/zone "z1" is away, 256 of 256 partitions can be neither read nor written/)
  const one = diagnoseCluster(
    cluster({ layout: layoutOf({ [A]: 'z1:1e12', [B]: 'z1:1e12', [C]: 'z1:1e12' }) }),
  )
  expect(one.map(({ check }) => check)).toContain('one-zone')
})

test('a zone that holds all copies of some partitions is an error, and the redundancy that allowed it is named', () => {
  const roles = {
    [A]: 'z1:1e12',
    [B]: 'z1:1e12',
    [C]: 'z1:1e12',
    [D]: 'z2:1e10',
    ['ee'.repeat(32)]: 'z3:1e10',
  }
  const layout = layoutOf(roles, { zoneRedundancy: 1 })
  const [finding] = diagnoseCluster(cluster({ layout }))
  expect(finding).toMatchObject({ severity: 'error', check: 'zone-holds-all-copies' })
  expect(finding!.help).toContain('carport layout config -r 3')
})

test('one copy is a remark on a single node, and a warning on several', () => {
  const quorums = { write: 1, read: 1 }
  const severity = (roles: Record<string, string>) =>
    diagnoseCluster(cluster({ quorums, layout: layoutOf(roles, { replicationFactor: 1 }) })).find(
      ({ check }) => check === 'one-copy',
    )!.severity
  expect(severity({ [A]: 'z1:1e12' })).toBe('info')
  expect(severity({ [A]: 'z1:1e12', [B]: 'z2:1e12' })).toBe('warning')
})

test('a capacity above what the disk has is found', () => {
  const nodes = [node(A), node(B, { dataPartition: { available: 1e11, total: 5e11 } }), node(C)]
  const findings = diagnoseCluster(cluster({ nodes }))
  expect(findings[0]).toMatchObject({ check: 'capacity-above-disk', node: B })
  expect(findings[0]!.help).toContain('-c 500G')
})

test('a change that waits for a node that is down is found', () => {
  const at = (version: number) => ({ ack: version, sync: version, syncAck: version })
  const history = {
    currentVersion: 2,
    minAck: 1,
    versions: [],
    updateTrackers: { [A]: at(2), [B]: at(2), [C]: at(1) },
  }
  const nodes = [node(A), node(B), node(C, { isUp: false, lastSeenSecsAgo: 60, role: null, draining: true })]
  expect(found({ history, nodes })).toEqual(['layout-change-waits'])
  expect(found({ history, nodes: [node(A), node(B), node(C)] })).toEqual([])
})

test('two layouts that were applied under one number are found, whichever nodes met both', () => {
  const reports = {
    [A]: report(A, { layoutConflicts: [1] }),
    [B]: report(B, { layoutConflicts: [1] }),
    [C]: report(C),
  }
  expect(found({ reports })).toEqual(['layout-conflict'])
})

// ---- Work ----

const worker = (consecutiveErrors: number) => ({
  ...{ id: 3, name: 'Block resync #1', state: 'idle' as const, errors: 9, consecutiveErrors },
  ...{ lastError: { message: 'no', secsAgo: 70 }, persistentErrors: null, queueLength: 0, tranquility: null },
  ...{ progress: null, work: null, freeform: [] },
})

test('a worker is stuck after five failures in a row', () => {
  expect(found(saying({ workers: [worker(4)] }))).toEqual([])
  const [finding] = diagnoseCluster(cluster(saying({ workers: [worker(5)] })))
  expect(finding).toMatchObject({ check: 'worker-stuck', node: B })
  expect(finding!.message).toContain('5 times in a row, at last 1 minute ago: no')
})

test.each([
  ['long but shrinking', { length: 5000, before: [9000, 8000, 7000, 6000] }, []],
  ['growing', { length: 5000, before: [1000, 2000, 3000, 4000] }, ['queue-grows']],
  ['growing but short', { length: 50, before: [1, 2, 3, 4] }, []],
  ['of a node that has just started', { length: 5000, before: [1] }, []],
  ['with old entries', { length: 3, oldestSecs: 700, before: [] }, ['queue-old']],
] as const)('a queue that is %s', (_, values, expected) => {
  const queue = { name: 'blockReferences' as const, oldestSecs: 0, ...values, before: [...values.before] }
  expect(found(saying({ queues: [queue] }))).toEqual(expected)
})

test.each([
  [{ rows: 3 }, ['rows-damaged']],
  [{ rows: 3, rowsLost: 1 }, ['rows-lost', 'rows-damaged']],
  [{ rows: 1, rowsLost: 1 }, ['rows-lost']],
  [{ blocksCorrupted: 1 }, ['blocks-damaged']],
  [{ blocksMissing: 2 }, ['blocks-missing']],
  [{ blockErrors: 2 }, ['blocks-not-found']],
])('damage %o', (values, expected) => {
  const none = { rows: 0, rowsLost: 0, blocksCorrupted: 0, blocksMissing: 0, blockErrors: 0 }
  expect(found(saying({ damage: { ...none, ...values } }))).toEqual(expected)
})

// ---- A node that does not run ----

test('a stopped node is found as such, with whatever keeps it from starting', () => {
  expect(names(diagnoseStopped(stopped()))).toEqual(['server-stopped'])
  const port = { key: 's3_api.api_bind_addr', address: '[::]:3900', inUse: true, problem: null }
  const findings = diagnoseStopped(
    stopped({
      ports: [port],
      databaseFault: 'it is cut short',
      machine: machine({ secrets: [{ what: 'secret', path: '/s', mode: 0o644 }] }),
      configProblems: ['rpc_secret: is missing'],
    }),
  )
  expect(names(findings)).toEqual([
    'configuration-wrong',
    'server-stopped',
    'port-in-use',
    'database-damaged',
    'secret-readable',
  ])
  expect(findings.find(({ check }) => check === 'port-in-use')!.help).toContain('grep :3900')
})

test('the folders of a node that never ran are not missed, those of one that did are', () => {
  const volumes = [volume({ problem: 'ENOENT', total: 0, available: 0, fsyncMs: null })]
  expect(names(diagnoseStopped(stopped({ hasDatabase: false, machine: machine({ volumes }) })))).toEqual([
    'server-stopped',
  ])
  expect(names(diagnoseStopped(stopped({ machine: machine({ volumes }) })))).toEqual([
    'server-stopped',
    'disk-unusable',
  ])
})

test('a server that runs but cannot be asked is told apart from one that does not run', () => {
  const port = { key: 'rpc_bind_addr', address: '[::]:3901', inUse: true, problem: null }
  expect(names(diagnoseStopped(stopped({ heldBy: 'process 7', ports: [port] })))).toEqual(['server-silent'])
})
