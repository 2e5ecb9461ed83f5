/**
 * Loaded into a server's process by `node --import`: measures the turns of its event loop, and answers to the parent
 * process with the longest. A turn's length is told twice: as time on the clock, and as time on the processor, which other
 * processes of a busy machine do not lengthen. With TURN_PROFILE_MS, it also tells what ran in turns longer than that.
 */
import { openSync, readSync } from 'node:fs'
import { type Profiler, Session } from 'node:inspector'

const PERIOD_MS = 10
/** A profile is begun anew so often: reading a long one would be a long turn itself. */
const PROFILE_MS = 2000
const SHOWN_FUNCTIONS = 14

/** The longest turns since the last answer. */
export interface LongestTurns {
  wallMs: number
  cpuMs: number
  /** What ran in long turns, if profiles were asked for. */
  profiles: string[]
}

const longest: LongestTurns = { wallMs: 0, cpuMs: 0, profiles: [] }
const readCpuMs = processorClock()
let lastMs = performance.now()
let lastCpuMs = readCpuMs()

/** The processor time of this thread in ms, from Linux; where there is none, the time on the clock. */
function processorClock(): () => number {
  let fd: number
  try {
    fd = openSync('/proc/thread-self/schedstat', 'r')
  } catch {
    return () => performance.now()
  }
  const bytes = Buffer.alloc(64)
  return () => {
    const length = readSync(fd, bytes, 0, bytes.length, 0)
    return Number.parseInt(bytes.toString('latin1', 0, length), 10) / 1e6
  }
}

const profileMs = Number(process.env.TURN_PROFILE_MS ?? Number.POSITIVE_INFINITY)
const session = Number.isFinite(profileMs) ? new Session() : undefined
let profileStartedMs = 0

function look(): void {
  const nowMs = performance.now()
  const cpuMs = readCpuMs()
  const wall = Math.max(0, nowMs - lastMs - PERIOD_MS)
  const cpu = Math.min(wall, cpuMs - lastCpuMs)
  longest.wallMs = Math.max(longest.wallMs, wall)
  longest.cpuMs = Math.max(longest.cpuMs, cpu)
  if (session && (cpu > profileMs || nowMs - profileStartedMs > PROFILE_MS)) profile(cpu, nowMs - lastMs)
  lastMs = performance.now()
  lastCpuMs = readCpuMs()
}

function profile(cpu: number, windowMs: number): void {
  session!.post('Profiler.stop', (error, result) => {
    if (!error && cpu > profileMs)
      longest.profiles.push(`${cpu.toFixed()} ms: ${busiest(result.profile, windowMs)}`)
  })
  session!.post('Profiler.start')
  profileStartedMs = performance.now()
}

/** The functions that the samples of the last `windowMs` have most often on their stacks. */
function busiest({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile, windowMs: number): string {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const parents = new Map<number, number>()
  for (const { id, children } of nodes) for (const child of children ?? []) parents.set(child, id)
  const times = new Map<string, number>()
  let leftUs = windowMs * 1000
  for (let i = samples.length - 1; i >= 0 && leftUs > 0; leftUs -= timeDeltas[i--]!) {
    const names = new Set<string>()
    for (let id: number | undefined = samples[i]; id !== undefined; id = parents.get(id)) {
      const { functionName, url, lineNumber } = byId.get(id)!.callFrame
      names.add(`${functionName} ${url.replace(/.*\/(dist\/src|node_modules)\//, '')}:${lineNumber + 1}`)
    }
    for (const name of names) times.set(name, (times.get(name) ?? 0) + timeDeltas[i]!)
  }
  return [...times]
    .filter(([name]) => !name.startsWith('(root)'))
    .sort((a, b) => b[1] - a[1])
    .slice(0, SHOWN_FUNCTIONS)
    .map(([name, us]) => `\n    ${(us / 1000).toFixed()} ms ${name}`)
    .join('')
}

if (session) {
  session.connect()
  session.post('Profiler.enable')
  session.post('Profiler.setSamplingInterval', { interval: 500 })
  session.post('Profiler.start')
}
setInterval(look, PERIOD_MS).unref()
process.on('message', (message) => {
  if (message !== 'turns') return
  process.send!({ ...longest })
  Object.assign(longest, { wallMs: 0, cpuMs: 0, profiles: [] })
})
// A server does not outlive the fuzzers, however they end.
process.on('disconnect', () => process.exit(1))
// The parent's channel does not keep the server from ending.
process.channel?.unref()
