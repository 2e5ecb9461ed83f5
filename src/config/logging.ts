import { type Env, readEnv } from './secrets.js'
import { type Findings, parseChoice } from './section.js'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

export interface LogConfig {
  level: LogLevel
  /** 'auto': text on a terminal, JSON elsewhere. */
  format: 'text' | 'json' | 'auto'
}

/** The log of requests. */
export interface AccessLogConfig {
  /** Which requests it has. */
  requests: 'off' | 'errors' | 'all'
  /** Null: stderr. */
  file: string | null
}

const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
/** Rust's names for levels, which RUST_LOG may have, by severity. */
const RUST_LEVELS: Record<string, LogLevel> = {
  trace: 'debug',
  debug: 'debug',
  info: 'info',
  warn: 'warn',
  error: 'error',
  off: 'silent',
}

/**
 * How to log: CARPORT_LOG (or GARAGE_LOG) names a level, CARPORT_LOG_FORMAT "text" or "json". Without CARPORT_LOG,
 * RUST_LOG is understood as Garage's users write it ("garage=debug", "warn"); other words in it are ignored.
 */
export function readLogConfig(env: Env, findings: Findings): LogConfig {
  const level = readEnv(env, 'LOG')
  const format = readEnv(env, 'LOG_FORMAT')
  for (const sink of ['LOG_TO_SYSLOG', 'LOG_TO_JOURNALD']) {
    const set = readEnv(env, sink)
    if (set !== undefined && ['1', 'true'].includes(set.value)) {
      findings.warn(set.variable, 'is not offered: logs go to stderr, which systemd passes to its journal')
    }
  }
  return {
    level:
      (level === undefined
        ? rustLevel(env.RUST_LOG)
        : findings.attempt(level.variable, parseChoice(LEVELS), level.value.toLowerCase())) ?? 'info',
    format:
      (format &&
        findings.attempt(format.variable, parseChoice(['text', 'json']), format.value.toLowerCase())) ??
      'auto',
  }
}

/** The level of a RUST_LOG directive list: of "carport" or "garage" if named, else the general one. */
function rustLevel(directives: string | undefined): LogLevel | undefined {
  let general: LogLevel | undefined
  let own: LogLevel | undefined
  for (const directive of directives?.split(',') ?? []) {
    const [target, level] = directive.includes('=') ? directive.split('=', 2) : [undefined, directive]
    const parsed = RUST_LEVELS[level!.trim().toLowerCase()]
    if (target === undefined) general = parsed ?? general
    else if (['carport', 'garage'].includes(target.trim())) own = parsed ?? own
  }
  return own ?? general
}
