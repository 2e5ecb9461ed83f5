import { printable, shortId } from '../format.js'
import type { Pace } from './meter.js'
import type { Task } from './tasks.js'

const BAR_COLUMNS = 24
const WORDS = { running: 'running', paused: 'paused', done: 'done', failed: 'failed' } as const

/** A line of a terminal: the bar of a task, its rate and the time left. */
export function barLine(
  task: Task,
  { perSecond, sharePerSecond, leftMs }: Pace,
  share: number | undefined,
): string {
  const parts = [`${shortId(task.node)}  ${task.name.padEnd(20)}`, `[${bar(share)}]`]
  parts.push(share === undefined ? '   ?  ' : `${(100 * share).toFixed(1).padStart(5)}%`)
  if (task.state !== 'running') return [...parts, stateText(task)].join('  ')
  parts.push(`${task.count} ${task.counts}`)
  if (perSecond) parts.push(`${rateText(perSecond)}/s`)
  // What is counted is not all that a scrub does.
  else if (sharePerSecond) parts.push(`${rateText(sharePerSecond * 6000)}%/min`)
  if (leftMs !== undefined) parts.push(`${timeText(leftMs)} left`)
  return parts.join('  ')
}

/** A line of a log: a task and its state. */
export function stateLine(task: Task): string {
  return `${shortId(task.node)}  ${task.name}: ${stateText(task)}`
}

function stateText({ state, message }: Task): string {
  const about = state !== 'running' && message !== '' ? `: ${printable(message)}` : ''
  return `${WORDS[state]}${about}`
}

function bar(share: number | undefined): string {
  const full = Math.round(BAR_COLUMNS * Math.min(1, Math.max(0, share ?? 0)))
  return '#'.repeat(full).padEnd(BAR_COLUMNS, share === undefined ? '?' : '-')
}

function rateText(perSecond: number): string {
  return perSecond < 10 ? perSecond.toFixed(1) : String(Math.round(perSecond))
}

/** "2d 3h", "1h 5m", "40s": the two largest units. */
export function timeText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  const units: [number, string][] = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'm'],
    [1, 's'],
  ]
  const at = units.findIndex(([length]) => seconds >= length)
  if (at < 0) return '0s'
  const [[large, name], small] = [units[at]!, units[at + 1]]
  const rest = small ? Math.floor((seconds % large) / small[0]) : 0
  return `${Math.floor(seconds / large)}${name}${rest > 0 ? ` ${rest}${small![1]}` : ''}`
}
