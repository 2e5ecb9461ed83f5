import { expect, it } from 'vitest'
import { CHANGES_MAX } from '../src/table/conditional.js'
import { errorCode } from '../src/util/errors.js'
import { onCluster } from './sim-histories.js'

const WRITERS = 3 * CHANGES_MAX

it('writers of one key on a condition wait in bounded number and for a bounded time, whatever a round trip takes', async () => {
  const path = { latencyMs: 150, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 }
  await onCluster({ path }, async ({ clock, nodes }) => {
    const { model } = nodes[0]!.core!
    const { id: bucket } = await model.buckets.create('hot')
    await clock.sleep(5000)
    const body = Buffer.from('value')
    const content = { length: body.length, readAll: async () => body, async *stream() {} }
    const put = async (key: string) => {
      const stored = await model.blobs.write(content)
      const version = { bucket, key: Buffer.from(key), etag: stored.md5, etagParts: 0, owner: '' }
      const more = { headers: {}, metadata: {}, mutable: {} }
      const startMs = clock.monotonicMs()
      const code = await model.objects
        .put({ ...version, ...more }, stored, 'off', () => {})
        .then(() => 'ok', errorCode)
      return { code, tookMs: clock.monotonicMs() - startMs }
    }
    const writers = Array.from({ length: WRITERS }, () => put('hot'))
    const other = await put('cold')
    expect(other).toMatchObject({ code: 'ok' })
    const answers = await Promise.all(writers)
    const count = (of: (answer: (typeof answers)[0]) => boolean) => answers.filter(of).length
    // Those for whom there is no room are told at once, the others wait for as long as a client does.
    expect(count(({ code, tookMs }) => code === 'Conflict' && tookMs < 1000)).toBe(WRITERS - CHANGES_MAX)
    expect(count(({ code }) => code === 'ok')).toBeGreaterThan(10)
    expect(count(({ code }) => code === 'ok' || code === 'Conflict')).toBe(WRITERS)
    expect(Math.max(...answers.map(({ tookMs }) => tookMs))).toBeLessThan(17_000)
  })
})
