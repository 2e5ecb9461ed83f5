import { expect, test } from 'vitest'
import { Semaphore } from './semaphore.js'

test('no more tasks run than may, in the order in which they came, and a failure gives its place back', async () => {
  const semaphore = new Semaphore(2)
  const started: number[] = []
  const ends: ((error?: Error) => void)[] = []
  const run = (id: number) =>
    semaphore.run(() => {
      started.push(id)
      return new Promise<void>((resolve, reject) => ends.push((error) => (error ? reject(error) : resolve())))
    })
  const runs = [1, 2, 3, 4].map(run)
  expect(started).toEqual([1, 2])
  expect(semaphore.waiting).toBe(2)
  ends[1]!(new Error('no'))
  await expect(runs[1]).rejects.toThrow('no')
  expect(started).toEqual([1, 2, 3])
  ends[0]!()
  await runs[0]
  expect(started).toEqual([1, 2, 3, 4])
  for (const end of ends) end()
  await Promise.all([runs[2], runs[3]])
  expect(semaphore.waiting).toBe(0)
})
