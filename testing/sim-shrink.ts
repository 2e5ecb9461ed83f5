import { runScenario, type ScenarioOptions, type ScenarioResult } from './sim-scenario.js'
import type { ScriptEvent } from './sim-script.js'

export interface Shrunk {
  /** The fewest events found with which the run still fails. */
  events: readonly ScriptEvent[]
  problems: readonly string[]
  /** What happened in it, one line for each operation and fault, in the order of virtual time. */
  story: readonly string[]
  /** How many runs it took. */
  runs: number
}

/** Lines of the trace that a person wants to read: operations, faults and cuts, not messages. */
const TOLD = /^[\d.]+ (client\d+ |nemesis|crash |block \S+ >|heal )/

/**
 * Cuts a run that fails down to few operations and faults that still fail: delta debugging (Zeller and Hildebrandt, 2002)
 * over its events. `isUp` says when to be content with what was reached.
 */
export async function shrink(
  options: ScenarioOptions,
  failing: ScenarioResult,
  isUp: () => boolean,
): Promise<Shrunk> {
  let runs = 0
  const run = async (only: readonly ScriptEvent[], onTrace?: (line: string) => void) => {
    runs++
    const given = { ...options, only, ...(onTrace && { onTrace }) }
    return (await runScenario(given).catch((error: unknown) => ({ problems: [String(error)] }))).problems
  }
  let events = [...failing.events]
  let problems: readonly string[] = failing.problems
  let parts = 2
  while (events.length > 1 && parts <= events.length && !isUp()) {
    const size = Math.ceil(events.length / parts)
    let reduced = false
    for (let at = 0; at < events.length && !isUp(); at += size) {
      const rest = [...events.slice(0, at), ...events.slice(at + size)]
      const found = await run(rest)
      if (found.length === 0) continue
      events = rest
      problems = found
      parts = Math.max(2, parts - 1)
      reduced = true
      break
    }
    if (!reduced) {
      if (parts === events.length) break
      parts = Math.min(events.length, 2 * parts)
    }
  }
  const story: string[] = []
  const again = await run(events, (line) => {
    if (TOLD.test(line)) story.push(line)
  })
  return { events, problems: again.length > 0 ? again : problems, story, runs }
}

/** A shrunk run as a text. */
export function describeShrunk({ events, problems, story, runs }: Shrunk): string {
  return [
    `cut down to ${events.length} events in ${runs} runs:`,
    ...story.map((line) => `  ${line}`),
    ...problems,
  ].join('\n')
}
