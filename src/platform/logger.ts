import type { LogConfig, LogLevel } from '../config/logging.js'
import type { Clock } from '../util/clock.js'
import type { Log } from '../util/log.js'

const SEVERITY: Record<LogLevel, number> = { debug: 10, info: 20, warn: 30, error: 40, silent: 100 }

/**
 * Lines on a stream: text for people ("time LEVEL message key=value"), or JSON for programs.
 * @param write gets each line with its line end
 */
export function createLog(
  config: LogConfig,
  clock: Clock,
  write: (line: string) => void,
  fixed: object = {},
): Log {
  const least = SEVERITY[config.level]
  const line = (level: Exclude<LogLevel, 'silent'>) => (fields: object, message: string) => {
    if (SEVERITY[level] < least) return
    const time = new Date(clock.nowMs()).toISOString()
    const all = { ...fixed, ...fields }
    write(config.format === 'json' ? json(time, level, all, message) : text(time, level, all, message))
  }
  return {
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    child: (fields) => createLog(config, clock, write, { ...fixed, ...fields }),
  }
}

function json(time: string, level: string, fields: object, message: string): string {
  return `${JSON.stringify({ time, level, message, ...fields }, (_, value) => plain(value))}\n`
}

function text(time: string, level: string, fields: object, message: string): string {
  let line = `${time} ${level.toUpperCase().padEnd(5)} ${message}`
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue
    const shown = plain(value)
    line += ` ${name}=${typeof shown === 'string' && !/[\s"]/.test(shown) ? shown : JSON.stringify(shown)}`
  }
  return `${line.replaceAll('\n', '\\n')}\n`
}

/** Turns an error into its stack and cause; other values stay as they are. */
function plain(value: unknown): unknown {
  if (value instanceof Error) {
    const cause = value.cause === undefined ? '' : ` (cause: ${String(value.cause)})`
    return `${value.stack ?? String(value)}${cause}`
  }
  return typeof value === 'bigint' ? String(value) : value
}
