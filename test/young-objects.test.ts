import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)
const ALLOCATION = pathToFileURL(join(import.meta.dirname, '../dist/src/platform/allocation.js')).href

/** Makes objects that live long, then such that die at once, and prints by how many bytes the old ones grew from these. */
const PROGRAM = `
  import { getHeapSpaceStatistics } from 'node:v8'
  import { placeNewObjectsAmongYoung } from '${ALLOCATION}'
  if (process.argv[1] === 'young') placeNewObjectsAmongYoung()
  const oldBytes = () => getHeapSpaceStatistics().find((space) => space.space_name === 'old_space').space_used_size
  const make = (i) => ({ i, refersTo: new Array(64).fill(i), state: undefined })
  const held = new Array(20_000).fill(undefined)
  for (let i = 0; i < 3_000_000; i++) held[i % held.length] = make(i)
  held.fill(undefined)
  let last = oldBytes()
  let grown = 0
  for (let i = 0; i < 300_000; i++) {
    held[i % 16] = make(i)
    if (i % 1024 !== 0) continue
    const bytes = oldBytes()
    grown += Math.max(0, bytes - last)
    last = bytes
  }
  console.log(grown)
`

async function growth(...args: string[]): Promise<number> {
  // With little room for young objects, V8 decides soon.
  const { stdout } = await run(process.execPath, [
    '--max-semi-space-size=1',
    '--input-type=module',
    '-e',
    PROGRAM,
    ...args,
  ])
  return Number(stdout)
}

test('objects that die young are made among the young ones, also after such that lived long', async () => {
  expect(await growth('young')).toBeLessThan(1 << 20)
  // Shows that this would tell: V8 by itself makes them among the old ones. It compiles on a thread of its own, which a busy
  // machine may start too late for that, so one run of several has to show it.
  let grown = 0
  for (let attempt = 0; attempt < 10 && grown <= 4 << 20; attempt++) grown = await growth()
  expect(grown).toBeGreaterThan(4 << 20)
})
