/**
 * Sends requests that no sane client sends to a whole node. Invariant: each is answered in time, by a result
 * or by AWS's error, never by a 5xx other than 501; nothing unexpected is logged, and in the end nothing is left open.
 *
 * FUZZ_RUNS sets how many sequences are run, without a limit of time (some 150 requests a second), and prints how often
 * which answer was given. A failure prints a seed and a path, which FUZZ_SEED and FUZZ_PATH repeat; FUZZ_SHRINK=1 makes it
 * smaller first. The ids that a node gives out differ from run to run, so a failure may depend on what was sent before.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { realClock } from '../src/platform/clock-and-random.js'
import { createLog } from '../src/platform/logger.js'
import type { FuzzRequest } from './support/fuzz-client.js'
import { formRequest, fuzzForm, fuzzSts } from './support/fuzz-forms.js'
import { BUCKETS, fuzzRequest, PRELUDE } from './support/fuzz-requests.js'
import { FuzzRunner } from './support/fuzz-runner.js'
import { startTestNode, type TestNode } from './support/test-node.js'
import { TurnWatch } from './support/turn-watch.js'

const RUNS = Number(process.env.FUZZ_RUNS ?? 250)
const SEED = process.env.FUZZ_SEED
/** On a machine with nothing else to do, 50 ms. */
const TURN_MS_MAX = 2_000
const PATH = process.env.FUZZ_PATH

/** A token service that is never asked: nothing listens there. */
const PROVIDER = {
  ...{ name: 'p', issuer: 'http://127.0.0.1:9', audiences: ['a'], jwksUri: 'http://127.0.0.1:9/keys' },
  roles: [{ claim: 'sub', value: '*', accessKey: 'GKx', name: 'x' }],
}

let node: TestNode
let runner: FuzzRunner
let key: AccessKey
let prepare: () => Promise<void>
const errors: string[] = []
const unhandled: unknown[] = []
const turns = new TurnWatch()
const onUnhandled = (reason: unknown) => void unhandled.push(reason)

beforeAll(async () => {
  turns.start()
  process.on('unhandledRejection', onUnhandled)
  const secrets = { sseMasterKeys: ['07'.repeat(32)] }
  const log = createLog({ level: 'error', format: 'text' }, realClock, (line) => errors.push(line))
  node = await startTestNode({ metadataFsync: false, dataFsync: false, secrets, oidc: [PROVIDER] }, { log })
  key = await node.createKey('fuzz')
  const other = await node.createKey('other')
  runner = new FuzzRunner(node, key, other, errors)
  const { buckets, keys } = node.core.model
  prepare = async () => {
    for (const name of [...Object.values(BUCKETS), 'fuzz-new']) {
      const found = buckets.localByName(name, undefined)
      const isNew = name === 'fuzz-new'
      if (found && isNew) continue
      const bucket = found ?? (isNew ? undefined : await buckets.create(name, { owner: key.id }))
      if (!bucket) continue
      for (const document of ['policy', 'acl', 'ownership', 'public-access-block', 'encryption'] as const) {
        if (bucket.document(document) !== undefined) await buckets.setDocument(bucket, document, undefined)
      }
      if (name === BUCKETS.versioned || name === BUCKETS.locked) {
        if (bucket.versioning !== 'enabled') await buckets.setDocument(bucket, 'versioning', 'enabled')
      }
      if (name === BUCKETS.locked && !bucket.objectLock) await buckets.setDocument(bucket, 'object-lock', {})
      await keys.setPermissions(key.id, bucket.id, { read: true, write: true, owner: true })
    }
    runner.reset()
    errors.length = 0
  }
})

afterAll(async () => {
  process.off('unhandledRejection', onUnhandled)
  // The clients run in this process too, and other processes may take the machine: a record, with a bound far off.
  const longestMs = turns.takeLongestMs()
  turns.stop()
  console.log(`longest turn of the event loop: ${longestMs.toFixed()} ms`)
  expect(longestMs).toBeLessThan(TURN_MS_MAX)
  await node?.dispose()
})

function connections(): Promise<number> {
  return new Promise((resolve, reject) => {
    node.s3!.server.getConnections((error, count) => (error ? reject(error) : resolve(count)))
  })
}

const step = fc.oneof(
  { weight: 20, arbitrary: fuzzRequest },
  { weight: 2, arbitrary: fuzzForm },
  { weight: 1, arbitrary: fuzzSts },
)

const parameters = (runs: number): fc.Parameters<unknown> => ({
  numRuns: runs,
  ...(SEED !== undefined && { seed: Number(SEED) }),
  ...(PATH !== undefined && { path: PATH }),
  interruptAfterTimeLimit: process.env.FUZZ_RUNS === undefined ? 18_000 : 24 * 3_600_000,
  endOnFailure: process.env.FUZZ_SHRINK === undefined,
})

test('requests of all kinds, one after another', { timeout: 25 * 3_600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 24, size: 'max' }), async (steps) => {
      await prepare()
      for (const request of PRELUDE) expect(await runner.run(request)).toMatchObject({ status: 200 })
      for (const one of steps) {
        const signer = { keyId: key.id, secret: key.secret }
        const request = 'fields' in one ? formRequest(one, signer, realClock.nowMs()) : one
        try {
          await runner.run(request)
        } catch (error) {
          throw new Error(`${(error as Error).message}\nrequest: ${JSON.stringify(request).slice(0, 6000)}`)
        }
      }
    }),
    parameters(RUNS),
  )
  expect(await runner.run(CONTROL)).toMatchObject({ status: 200 })
  if (process.env.FUZZ_RUNS !== undefined)
    console.log(Object.fromEntries([...runner.seen, ...runner.done].sort()))
  // Without many kinds of answers the checks above would mean little.
  expect(runner.seen.size).toBeGreaterThan(20)
})

test('nothing is left behind', async () => {
  await expect.poll(connections, { timeout: 10_000 }).toBe(0)
  await expect.poll(() => node.core.model.purge.backlog, { timeout: 20_000 }).toBe(0)
  expect(unhandled).toEqual([])
  expect(errors).toEqual([])
})

const CONTROL: FuzzRequest = {
  ...{ method: 'GET', target: '/', headers: [], body: '', auth: 'header', length: 'right' },
}
