import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * Keeps V8 from placing new objects among the old ones ("allocation site pretenuring"). Requests that wait for a disk live
 * long enough for V8 to conclude that their objects are old from birth. Later ones are then made there although they die
 * within a millisecond. Since only a full collection frees old objects, each keeps all that it refers to alive until the next
 * one, and the collections of young objects, which should find little alive, copy whole requests. After many PUTs this made
 * each HEAD a third dearer.
 */
export function placeNewObjectsAmongYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring')
}

/**
 * Collects all garbage at once, in some ten milliseconds: for a moment after the start, which leaves a lot behind that V8
 * would otherwise keep until it finds a pause, minutes later.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  gc()
}
