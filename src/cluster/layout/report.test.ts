import { describe, expect, it } from 'vitest'
import type { NodeId } from '../../net/transport.js'
import { advanceAck } from './history.js'
import { applyStaged, stageParameters, stageRemove, stageRole } from './operations.js'
import {
  changeReport,
  compareVersions,
  formatBytes,
  historyJson,
  layoutJson,
  layoutReport,
} from './report.js'
import { EMPTY_HISTORY, type LayoutHistory } from './types.js'

const [a, b, c, d] = [1, 2, 3, 4].map((n) => n.toString(16).repeat(64)) as [NodeId, NodeId, NodeId, NodeId]

function apply(history: LayoutHistory): LayoutHistory {
  const version = (history.versions.at(-1)?.version ?? 0) + 1
  return applyStaged(history, { version, self: a, replicationFactor: 2, now: version * 100 }).history
}

function role(zone: string, capacityBytes: number | null, tags: string[] = []) {
  return { zone, capacityBytes, tags }
}

const staged = [
  [a, role('paris', 1e12, ['ssd', 'new'])],
  [b, role('lyon', 1e12)],
  [c, role('lyon', null)],
] as const
const one = apply(staged.reduce((h, [id, r]) => stageRole(h, 1, id, r), EMPTY_HISTORY))
const change = stageRemove(stageRole(one, 200, d, role('nice', 5e11)), 200, c)

describe('layout reports', () => {
  it('show the current roles', () => {
    expect(layoutReport(EMPTY_HISTORY, 2)).toBe('No layout yet: no node has a role.\n\nNo staged changes.\n')
    const text = layoutReport(one, 2)
    expect(text).toContain('Current layout, version 1')
    expect(text).toContain('1111111111111111  paris  1.0 TB    1.0 TB (100.0 %)  ssd,new\n')
    expect(text).toContain('3333333333333333  lyon   gateway\n')
    expect(text).toContain('Zone redundancy: maximum')
    expect(text).toContain('No staged changes.')
  })

  it('show staged changes and what they would do', () => {
    const text = layoutReport(change, 2)
    expect(text).toMatch(/3333333333333333 {2}remove/)
    expect(text).toMatch(/4444444444444444 {2}add {5}nice {2}500.0 GB/)
    expect(text).toContain('Layout version 2: 256 partitions, each on 2 node(s) in at least 2 zone(s).')
    expect(text).toContain('Partition size:        4.9 GB (was 3.9 GB)')
    expect(text).toContain('carport layout apply --version 2')
  })

  it('say why staged changes cannot be applied', () => {
    const text = layoutReport(stageParameters(one, 200, { zoneRedundancy: 3 }), 2)
    expect(text).toContain(
      'They cannot be applied: zone redundancy 3 cannot be above the replication factor 2.',
    )
  })

  it('count what a change moves', () => {
    const two = apply(change)
    const result = compareVersions(two.versions[0], two.versions[1]!)
    const nice = result.zones.find(({ zone }) => zone === 'nice')!
    expect(nice.newPartitions).toBe(nice.partitions)
    expect(nice.partitions).toBe(nice.uniquePartitions)
    expect(result.movedPartitions).toBe(nice.partitions)
    expect(result.zones.reduce((sum, zone) => sum + zone.partitions, 0)).toBe(512)
    expect(result.usableBytes).toBe(512 * two.versions[1]!.partitionSizeBytes)
    expect(changeReport(...(two.versions as [never, never])).join('\n')).toContain(
      `Data to move:          ${nice.partitions} of 512 copies of partitions`,
    )
    expect(compareVersions(undefined, one.versions[0]!).movedPartitions).toBe(0)
  })

  it('show the history and the progress of a change', () => {
    expect(historyJson(EMPTY_HISTORY)).toMatchObject({ versions: [], updateTrackers: null })
    expect(historyJson(one).updateTrackers).toBeNull()
    const two = advanceAck(apply(change), a, 2)
    expect(historyJson(two)).toMatchObject({
      currentVersion: 2,
      minAck: 1,
      versions: [
        { version: 2, status: 'Current', storageNodes: 3, gatewayNodes: 0 },
        { version: 1, status: 'Draining', storageNodes: 2, gatewayNodes: 1 },
      ],
      updateTrackers: { [a]: { ack: 2, sync: 0, syncAck: 0 }, [c]: { ack: 0 } },
    })
  })

  it('have the form of the admin API as JSON', () => {
    expect(layoutJson(EMPTY_HISTORY)).toEqual({
      version: 0,
      roles: [],
      parameters: { zoneRedundancy: 'maximum' },
      partitionSize: 0,
      stagedRoleChanges: [],
      stagedParameters: null,
    })
    const json = layoutJson(stageParameters(change, 200, { zoneRedundancy: 1 }))
    expect(json.roles[0]).toEqual({
      id: a,
      zone: 'paris',
      tags: ['ssd', 'new'],
      capacity: 1e12,
      storedPartitions: 256,
      usableCapacity: 256 * 3906250000,
    })
    expect(json.roles[2]).toMatchObject({ capacity: null, storedPartitions: null, usableCapacity: null })
    expect(json.stagedRoleChanges).toEqual([
      { id: c, remove: true },
      { id: d, zone: 'nice', tags: [], capacity: 5e11 },
    ])
    expect(json.stagedParameters).toEqual({ zoneRedundancy: { atLeast: 1 } })
  })

  it('format bytes with SI units', () => {
    expect([0, 999, 1000, 1.5e9, 999_960, 2 ** 53].map(formatBytes)).toEqual([
      '0 B',
      '999 B',
      '1.0 kB',
      '1.5 GB',
      '1.0 MB',
      '9.0 PB',
    ])
  })
})
