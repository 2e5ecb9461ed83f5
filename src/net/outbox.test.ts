import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { FRAME_BYTES_MAX, FrameDecoder, FrameType } from './frames.js'
import { BatchPool, MessageSource, Outbox } from './outbox.js'
import { Priority } from './transport.js'

/** An outbox whose batches wait until the test takes them away. */
function outboxUnderTest() {
  const batches: { frames: string[]; done: () => void }[] = []
  const outbox = new Outbox((batch, done) => {
    const frames: string[] = []
    const decoder = new FrameDecoder({
      onFrame: (type, _flags, id) => frames.push(`${type === FrameType.ping ? 'ping' : 'message'} ${id}`),
      onData: () => {},
    })
    decoder.push(batch)
    batches.push({ frames, done })
  }, new BatchPool())
  const message = (id: number, priority: Priority, bytes: number, owner?: { messageSent(): void }) =>
    new MessageSource(outbox, FrameType.request, id, 0, priority, Buffer.alloc(bytes), owner)
  return { outbox, batches, message }
}

test('what is sent in one turn leaves in one write, the most urgent first', async () => {
  const { outbox, batches, message } = outboxUnderTest()
  message(1, Priority.background, 100)
  message(2, Priority.normal, 100)
  void Promise.resolve().then(() => message(3, Priority.control, 100))
  outbox.addControl(FrameType.ping, 0, Buffer.alloc(8))
  await turn()
  expect(batches.map((batch) => batch.frames)).toEqual([['ping 0', 'message 3', 'message 2', 'message 1']])
})

test('long messages of the same priority take turns, frame by frame', async () => {
  const { batches, message } = outboxUnderTest()
  message(1, Priority.normal, 3 * FRAME_BYTES_MAX)
  message(2, Priority.normal, 100)
  message(3, Priority.normal, FRAME_BYTES_MAX + 1)
  await turn()
  expect(batches[0]!.frames).toEqual([
    'message 1',
    'message 2',
    'message 3',
    'message 1',
    'message 3',
    'message 1',
    'message 1',
  ])
})

test('an urgent message overtakes a long one that is under way, behind what the socket holds', async () => {
  const { batches, message } = outboxUnderTest()
  message(1, Priority.background, 1024 * 1024)
  await turn()
  expect(batches.length).toBe(2)
  message(2, Priority.control, 100)
  await turn()
  expect(batches.length).toBe(2)
  batches[0]!.done()
  expect(batches[2]!.frames[0]).toBe('message 2')
})

test('a message that is withdrawn sends no more frames and no longer counts', async () => {
  const { outbox, batches, message } = outboxUnderTest()
  const whole = message(1, Priority.normal, 100)
  const begun = message(2, Priority.background, 1024 * 1024)
  expect(whole.withdraw()).toBe(false)
  await turn()
  expect(begun.withdraw()).toBe(true)
  expect(outbox.queuedBytes).toBe(0)
  batches[0]!.done()
  expect(batches.length).toBe(2)
  expect(batches[0]!.frames).not.toContain('message 1')
})

test("a message's owner is told once the last frame left", async () => {
  const { outbox, message } = outboxUnderTest()
  let told = 0
  message(1, Priority.normal, 100, { messageSent: () => told++ })
  expect(told).toBe(0)
  await turn()
  expect(told).toBe(1)
  expect(outbox.queuedBytes).toBe(0)
})
