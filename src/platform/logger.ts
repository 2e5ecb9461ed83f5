import { type Bindings, type Logger, pino } from 'pino'
import type { LogConfig } from '../config/logging.js'
import type { Clock } from '../util/clock.js'
import type { Log } from '../util/log.js'

/** Fields that would hold a secret, wherever they stand in a line. Nothing logs any: this is the second fence. */
const SECRET_FIELDS = [
  'adminToken',
  'authorization',
  'metricsToken',
  'password',
  'rpcSecret',
  'secret',
  'secretAccessKey',
  'secretKey',
  'secrets',
  'sessionToken',
  'sseMasterKeys',
  'token',
]
const CENSOR = '[redacted]'

/**
 * The log of a node, by pino: text for people ("time LEVEL message key=value"), or a line of JSON for programs. Levels
 * that are off cost nothing but the call.
 * @param write gets each line with its line end
 */
export function createLog(
  config: LogConfig & { format: 'text' | 'json' },
  clock: Pick<Clock, 'nowMs'>,
  write: (line: string) => void,
): Log {
  return asLog(
    pino(
      {
        level: config.level,
        base: null,
        messageKey: 'message',
        timestamp: () => `,"time":"${new Date(clock.nowMs()).toISOString()}"`,
        formatters: { level: (level) => ({ level }), log: plainFields, bindings: plainFields },
        redact: { paths: SECRET_FIELDS.flatMap((name) => [name, `*.${name}`]), censor: CENSOR },
      },
      { write: config.format === 'json' ? write : (line) => write(textLine(line)) },
    ),
  )
}

/** A line of JSON, as text for people: the message first, then the other fields. */
export function textLine(json: string): string {
  const { time, level, message, ...fields } = JSON.parse(json) as Record<string, unknown>
  let line = `${time} ${String(level ?? 'info')
    .toUpperCase()
    .padEnd(5)} ${message ?? 'request'}`
  for (const [name, value] of Object.entries(fields)) {
    line += ` ${name}=${typeof value === 'string' && !/[\s"]/.test(value) ? value : JSON.stringify(value)}`
  }
  return `${line.replaceAll('\n', '\\n')}\n`
}

/** Of pino's methods only those of `Log`; a child is one of pino's too. */
function asLog(logger: Logger): Log {
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    child: (fields) => asLog(logger.child(fields as Bindings)),
  }
}

/** Fields as pino can write them: errors as their stack and cause, big numbers as text. */
function plainFields(fields: Record<string, unknown>): Record<string, unknown> {
  const plain: Record<string, unknown> = {}
  for (const name in fields) plain[name] = plainValue(fields[name])
  return plain
}

function plainValue(value: unknown): unknown {
  if (value instanceof Error) {
    const cause = value.cause === undefined ? '' : ` (cause: ${String(value.cause)})`
    return `${value.stack ?? String(value)}${cause}`
  }
  return typeof value === 'bigint' ? String(value) : value
}
