import { expect, it } from 'vitest'
import { CONFIG, cli } from '../../testing/cli-fakes.js'

const files = { '/etc/carport.toml': CONFIG.replace('replication_factor = 1', 'replication_factor = 3') }

it.each([
  [['meta', 'restore', '--yes'], 'newest'],
  [['meta', 'restore', '/backup/x', '--yes'], { folder: '/backup/x' }],
  [['meta', 'restore', '--from-replicas', '--yes'], 'replicas'],
])('%j restores from that', async (words, source) => {
  const { status, restored, calls, out } = await cli(words, { files })
  expect({ status, restored, calls }).toEqual({ status: 0, restored: [source], calls: [] })
  expect(out).toContain('The one before is /m/db.before')
  expect(out).toContain('Start the server')
})

it('meta restore wants to be confirmed, and takes one source', async () => {
  const unconfirmed = await cli(['meta', 'restore'], { files })
  expect(unconfirmed).toMatchObject({ status: 2, restored: [] })
  expect(unconfirmed.err).toContain('confirm with --yes')
  const both = await cli(['meta', 'restore', '/x', '--from-replicas', '--yes'], { files })
  expect(both).toMatchObject({ status: 2, restored: [] })
})

it('a single copy is told what is gone', async () => {
  const { out } = await cli(['meta', 'restore', '--yes'])
  expect(out).toContain('What was written after the snapshot is gone')
})
