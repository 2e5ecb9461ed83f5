import { describe, expect, it } from 'vitest'
import { cli, LAYOUT, NODE_A, NODE_B, NODE_C, nodeStatus, STATUS } from '../../testing/cli-fakes.js'
import type { ClusterLayout, LayoutPlanAnswer } from '../api/admin/types.js'
import { formatLayoutFile, parseLayoutFile } from './layout-file.js'

const ROLE = { zone: 'z1', tags: [], capacity: 1e11 }
const FILE = `
zone_redundancy = 2
[[node]]
id = "${NODE_A}"
zone = "z1"
capacity = "100G"
[[node]]
id = "${NODE_C.slice(0, 6)}"
zone = "z2"
gateway = true
tags = ["edge"]
`
const zone = {
  ...{
    name: 'z1',
    totalReplicatedPartitions: 256,
    uniquePartitions: 256,
    usableCapacity: 9e10,
    totalCapacity: 1e11,
  },
  nodes: [
    {
      ...{ id: NODE_A, tags: [], storedPartitions: 256, newPartitions: 256 },
      usableCapacity: 9e10,
      totalCapacity: 1e11,
    },
  ],
}
const PLAN: LayoutPlanAnswer = {
  version: 2,
  changes: [
    { id: NODE_A, before: ROLE, after: { ...ROLE, capacity: 2e11, tags: ['ssd'] } },
    { id: NODE_B, before: { ...ROLE, zone: 'z2' }, after: null },
    { id: NODE_C, before: null, after: { ...ROLE, zone: 'z2' } },
  ],
  parameters: { before: { zoneRedundancy: 'maximum' }, after: { zoneRedundancy: { atLeast: 2 } } },
  statistics: {
    ...{
      replicationFactor: 2,
      effectiveZoneRedundancy: 2,
      partitionSize: 3.5e8,
      previousPartitionSize: 3.5e8,
    },
    ...{ lowPartitionSize: false, usableCapacity: 9e10, totalCapacity: 1e11, effectiveCapacity: 9e10 },
    ...{ lowUsableCapacity: false, totalMovedPartitions: 256, zones: [zone] },
  },
  moves: [{ partition: 0, added: [NODE_C], removed: [NODE_B] }],
  transfers: [{ from: NODE_B, to: NODE_C, partitions: 256, bytes: 25e9 }],
  nodes: [{ id: NODE_C, partitions: 256, receivedPartitions: 256, receivedBytes: 25e9, givenPartitions: 0 }],
  ...{ bytesPerPartition: 1e8, bytesAreKnown: true, movedPartitions: 256, movedBytes: 25e9 },
  survives: {
    zones: [{ zone: 'z1', nodes: 1, withoutWrites: 256, withoutReads: 256, withoutCopy: 0 }],
    nodes: { writes: 0, reads: 0, data: 1 },
  },
}
const SAME = {
  ...PLAN,
  changes: [],
  parameters: { before: PLAN.parameters.before, after: PLAN.parameters.before },
}
const files = {
  '/etc/carport.toml': `rpc_secret = "${'ab'.repeat(32)}"\nmetadata_dir = "/m"\ndata_dir = "/d"\nreplication_factor = 1\nrpc_bind_addr = "[::]:3901"\n[s3_api]\ns3_region = "g"\n`,
  '/l.toml': FILE,
}
const answers = {
  'layout.plan': PLAN,
  'layout.get': LAYOUT,
  'layout.stage': LAYOUT,
  'layout.apply': { message: [], layout: { ...LAYOUT, version: 2 }, statistics: PLAN.statistics },
}

describe('layout plan', () => {
  it('asks with the roles of the file, and shows what changes, what moves, how long it takes and what it survives', async () => {
    const { status, out, calls } = await cli(['layout', 'plan', '-f', '/l.toml', '--rate', '50M'], {
      files,
      answers,
    })
    expect(status).toBe(0)
    expect(calls).toEqual([
      {
        operation: 'layout.plan',
        args: {
          roles: [
            { id: NODE_A, zone: 'z1', capacity: 1e11, tags: [] },
            { id: NODE_C.slice(0, 6), zone: 'z2', capacity: null, tags: ['edge'] },
          ],
          parameters: { zoneRedundancy: { atLeast: 2 } },
        },
      },
    ])
    expect(out).toContain('aa11000000000000  change  capacity 100.0 GB → 200.0 GB, tags [] → [ssd]')
    expect(out).toContain('aa22000000000000  remove  z2, 100.0 GB')
    expect(out).toContain('cc33000000000000  add     z2, 100.0 GB')
    expect(out).toContain('Zone redundancy: maximum → 2')
    expect(out).toMatch(/aa22000000000000 {2}cc33000000000000 {2}256 +25\.0 GB/)
    expect(out).toContain(
      'about 25.0 GB before compression. At 50.0 MB/s for each node that receives: 8 minutes.',
    )
    expect(out).toContain('z1: without it, 256 partitions can be neither read nor written')
    expect(out).toContain('To do it: carport layout plan -f /l.toml --apply --yes')
  })

  it('the rate is stated where none is given, and every partition is listed where that is asked for', async () => {
    const { out } = await cli(['layout', 'plan', '-f', '/l.toml', '--partitions'], { files, answers })
    expect(out).toContain('At 12.5 MB/s for each node that receives: 33 minutes.')
    expect(out).toMatch(/\n0 +cc33000000000000 +aa22000000000000/)
  })

  it('changes nothing where the layout is as the file says', async () => {
    const { status, out, calls } = await cli(['layout', 'plan', '-f', '/l.toml', '--apply', '--yes'], {
      files,
      answers: { ...answers, 'layout.plan': SAME },
    })
    expect({ status, out }).toEqual({ status: 0, out: 'The layout is as the file says: nothing changes.' })
    expect(calls.map(({ operation }) => operation)).toEqual(['layout.plan'])
  })

  it('stages the differences alone', async () => {
    const { status, out, calls } = await cli(['layout', 'plan', '-f', '/l.toml', '--stage'], {
      files,
      answers,
    })
    expect(status).toBe(0)
    expect(calls.at(-1)).toEqual({
      operation: 'layout.stage',
      args: {
        roles: [
          { id: NODE_A, zone: 'z1', capacity: 2e11, tags: ['ssd'] },
          { id: NODE_B, remove: true },
          { id: NODE_C, zone: 'z2', capacity: 1e11, tags: [] },
        ],
        parameters: { zoneRedundancy: { atLeast: 2 } },
      },
    })
    expect(out).toContain('carport layout apply --version 2')
  })

  it('applies only when that is confirmed, and only what was shown', async () => {
    const plan = ['layout', 'plan', '-f', '/l.toml', '--apply']
    const unconfirmed = await cli(plan, { files, answers })
    expect(unconfirmed.status).toBe(2)
    expect(unconfirmed.err).toContain('confirm with --yes')
    expect(unconfirmed.calls.map(({ operation }) => operation)).toEqual(['layout.plan'])

    const done = await cli([...plan, '--yes'], { files, answers })
    expect(done.calls.at(-1)).toEqual({ operation: 'layout.apply', args: { version: 2 } })

    const staged = { ...LAYOUT, stagedRoleChanges: [{ id: NODE_B, remove: true }] }
    const others = await cli([...plan, '--yes'], { files, answers: { ...answers, 'layout.get': staged } })
    expect(others.err).toContain('other changes are staged already')
    const newer = await cli([...plan, '--yes'], {
      files,
      answers: { ...answers, 'layout.get': { ...LAYOUT, version: 5 } },
    })
    expect(newer.err).toContain('the layout has changed meanwhile')
    for (const { calls } of [others, newer]) expect(calls.at(-1)!.operation).toBe('layout.get')
  })

  it('a file that is not there says how to get one', async () => {
    const { status, err } = await cli(['layout', 'plan', '-f', '/none'], { files, answers })
    expect({ status, err }).toEqual({
      status: 1,
      err: 'carport: cannot read /none (ENOENT): "carport layout export" prints such a file',
    })
  })
})

describe('the layout file', () => {
  it('is exported from the layout, and read back as the same', () => {
    const layout: ClusterLayout = {
      ...LAYOUT,
      parameters: { zoneRedundancy: { atLeast: 2 } },
      roles: [
        {
          id: NODE_A,
          zone: 'z "1"\\',
          tags: ['ssd', 'ü\x7f'],
          capacity: 1.5e12,
          storedPartitions: 256,
          usableCapacity: 1,
        },
        { id: NODE_B, zone: 'z2', tags: [], capacity: 2 ** 40, storedPartitions: 256, usableCapacity: 1 },
        { id: NODE_C, zone: 'z3', tags: [], capacity: 1234567, storedPartitions: 256, usableCapacity: 1 },
        {
          id: 'dd'.repeat(32),
          zone: 'z3',
          tags: ['edge'],
          capacity: null,
          storedPartitions: null,
          usableCapacity: null,
        },
      ],
    }
    const status = { ...STATUS, nodes: [nodeStatus(NODE_A, { hostname: 'a\nb = 1' })] }
    const text = formatLayoutFile(layout, status)
    expect(parseLayoutFile('f', text)).toEqual({
      zoneRedundancy: { atLeast: 2 },
      nodes: layout.roles.map(({ id, zone, tags, capacity }) => ({ id, zone, tags, capacity })),
    })
    expect(text).toContain('# a\\u000ab = 1')
    expect(text).toContain('capacity = "1Ti"')
  })

  it.each([
    ['zone_redundancy = 0\n', /zone_redundancy: expected a number of zones/],
    ['zones = 1\n', /zones: is no key of a layout/],
    ['', /node: expected at least one section/],
    ['[[node]]\nid = "zz"\n', /node 1, id: is "zz", expected a node id/],
    ['[[node]]\nid = "abcd"\n', /node 1, zone: is undefined|node 1, zone: is .*expected the name of a zone/],
    ['[[node]]\nid = "abcd"\nzone = "z"\n', /node 1, capacity: expected a size, or gateway/],
    ['[[node]]\nid = "abcd"\nzone = "z"\ncapacity = "1X"\n', /node 1, capacity: is "1X"/],
    [
      '[[node]]\nid = "abcd"\nzone = "z"\ncapacity = 1\ngateway = true\n',
      /capacity: expected a size, or gateway/,
    ],
    ['[[node]]\nid = "abcd"\nzone = "z"\ncapacity = 1\ntags = "a"\n', /tags: expected a list/],
    ['[[node]]\nid = "abcd"\nzone = "z"\ncapacity = 1\nweight = 1\n', /weight: is no key of a node/],
    ['[[node]\n', /line 1, column \d+: expected TOML/],
  ])('%j is refused with its place', (text, message) => {
    expect(() => parseLayoutFile('l.toml', text)).toThrow(message)
  })
})
