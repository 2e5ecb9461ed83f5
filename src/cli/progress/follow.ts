import type { CliIo } from '../io.js'
import { barLine, stateLine } from './lines.js'
import { Meter } from './meter.js'
import type { Task } from './tasks.js'

/** Time between two looks, in ms. */
const LOOK_MS = 1000

/** What follows work needs of the world. */
export type FollowIo = Pick<CliIo, 'nowMs' | 'sleep' | 'err' | 'terminal'>

/**
 * Watches work until none of it runs any more: on a terminal as bars, elsewhere as a line on stderr for each change of a
 * state. The work goes on by itself when the program is ended meanwhile.
 * @param look the tasks as they are now; called once a second
 * @returns the tasks as they ended
 * @throws what `look` throws
 */
export async function follow(io: FollowIo, look: () => Promise<Task[]>): Promise<Task[]> {
  const meters = new Map<string, { meter: Meter; most: number }>()
  const told = new Map<string, Task['state']>()
  try {
    for (;;) {
      const tasks = await look()
      const lines = tasks.map((task) => {
        const key = `${task.node} ${task.name}`
        const known = meters.get(key) ?? { meter: new Meter(), most: 0 }
        meters.set(key, known)
        known.most = Math.max(known.most, task.count)
        const share = shareOf(task, known.most)
        const done = task.counts === 'left' ? known.most - task.count : task.count
        const pace = known.meter.add(io.nowMs(), share, done)
        if (!io.terminal && told.get(key) !== task.state) io.err(stateLine(task))
        told.set(key, task.state)
        return barLine(task, pace, share)
      })
      io.terminal?.redraw(lines)
      if (tasks.every(({ state }) => state !== 'running')) return tasks
      await io.sleep(LOOK_MS)
    }
  } finally {
    io.terminal?.keep()
  }
}

/** What is done of the whole: as the node tells, or of the longest queue that was seen. */
function shareOf({ state, done, count, counts }: Task, most: number): number | undefined {
  if (state === 'done') return 1
  if (done !== undefined) return done
  return counts === 'left' && most > 0 ? 1 - count / most : undefined
}
