import type { SonicBoom } from 'sonic-boom'
import type { HttpFrontOptions, RequestRecord } from '../api/http/front.js'
import type { AccessLogConfig } from '../config/logging.js'
import type { Clock } from '../util/clock.js'
import type { Log } from '../util/log.js'
import { textLine } from './logger.js'

/** Bytes of lines that may wait for the disk: further ones are dropped, and counted, rather than kept in memory. */
const WAITING_BYTES_MAX = 4 << 20
/** Lines are written together, this many ms after the first of them. */
const FLUSH_MS = 250
/** How long the close waits for a disk that does not answer, in ms. */
const CLOSE_MS = 1_000

/** Answers that say that a signature, or who made it, was not accepted. */
const REFUSED_SIGNATURES: ReadonlySet<string> = new Set([
  'AuthorizationHeaderMalformed',
  'AuthorizationQueryParametersError',
  'ExpiredToken',
  'InvalidAccessKeyId',
  'InvalidToken',
  'RequestTimeTooSkewed',
  'SignatureDoesNotMatch',
])

/** Takes the records of requests; see `openAccessLog`. */
export interface AccessLog {
  /**
   * What makes a front tell the log of its requests.
   * @param api its name: "s3", "web" …
   */
  of(api: string): Pick<HttpFrontOptions, 'onRequest' | 'onlyFailed' | 'beginSpan'>
  /** Opens the file anew, after something has moved it away. */
  reopen(): void
  /** Writes what is left, and closes the file; gives up lines that the disk does not take. */
  close(): Promise<void>
}

/**
 * Opens the access log: one line of JSON for each request that it is to have, or of text where it shares a terminal with
 * `log`. Refused signatures are told to `log` too, whatever it is to have.
 * @throws Error when the file cannot be opened
 */
export async function openAccessLog(
  config: AccessLogConfig,
  log: Log,
  clock: Pick<Clock, 'nowMs' | 'after'>,
  format: 'text' | 'json' = 'json',
): Promise<AccessLog> {
  const stream = config.requests === 'off' ? undefined : await openStream(config.file, log)
  const isText = format === 'text' && config.file === null
  let dropped = 0
  stream?.on('drop', () => {
    if (dropped++ === 0)
      log.warn({ file: config.file }, 'the disk is too slow for the access log: lines are dropped')
  })
  stream?.on('drain', () => {
    if (dropped > 0) log.warn({ dropped }, 'lines of the access log were dropped')
    dropped = 0
  })
  let isReopening = false
  stream?.on('ready', () => {
    isReopening = false
  })
  // A reopening waits for a write under way, and is forgotten if that fails, as all do on a full disk.
  stream?.on('error', () => {
    if (isReopening) stream.reopen()
    isReopening = false
  })
  const add = (api: string, record: RequestRecord) => {
    const { errorCode } = record
    if (errorCode !== undefined && REFUSED_SIGNATURES.has(errorCode)) {
      const { requestId, remoteAddress: source, keyId } = record
      log.warn({ requestId, source, keyId, code: errorCode }, 'a signature was refused')
    }
    if (!stream || (config.requests === 'errors' && record.status < 400)) return
    const line = JSON.stringify(lineOf(api, record, clock.nowMs()))
    stream.write(isText ? textLine(line) : `${line}\n`)
  }
  return {
    of: (api) => ({ onRequest: (record) => add(api, record), onlyFailed: config.requests !== 'all' }),
    reopen() {
      // What goes to stderr has no file to open.
      if (!stream || config.file === null) return
      isReopening = true
      stream.reopen()
    },
    close: () =>
      new Promise((resolve) => {
        if (!stream) return resolve()
        // After an error nothing is tried again but by the periodic flush, so that the end would never come.
        const giveUp = () => {
          resolve()
          stream.destroy()
        }
        const timer = clock.after(CLOSE_MS, giveUp)
        stream.once('error', giveUp)
        stream.once('close', () => {
          timer.cancel()
          resolve()
        })
        stream.end()
      }),
  }
}

async function openStream(file: string | null, log: Log): Promise<SonicBoom> {
  // Loaded when it is needed, which for most nodes is never.
  const { default: sonic } = await import('sonic-boom')
  return new Promise((resolve, reject) => {
    const stream = new sonic.SonicBoom({
      ...(file === null ? { fd: 2 } : { dest: file, append: true, mkdir: true, mode: 0o600 }),
      maxLength: WAITING_BYTES_MAX,
      periodicFlush: FLUSH_MS,
      minLength: 4096,
    })
    stream.once('error', reject)
    stream.once('ready', () => {
      stream.off('error', reject)
      let isFailing = false
      stream.on('error', (error) => {
        // Each flush fails on a full disk, four times a second.
        if (!isFailing) log.error({ error, file }, 'the access log cannot be written')
        isFailing = true
      })
      stream.on('drain', () => {
        if (isFailing) log.info({ file }, 'the access log is written again')
        isFailing = false
      })
      resolve(stream)
    })
  })
}

function lineOf(api: string, record: RequestRecord, endMs: number): object {
  return {
    time: new Date(endMs).toISOString(),
    api,
    requestId: record.requestId,
    source: record.remoteAddress,
    keyId: record.keyId,
    operation: record.operation,
    bucket: record.bucket,
    method: record.method,
    path: record.rawPath,
    status: record.status,
    error: record.errorCode,
    bytesReceived: record.bytesReceived,
    bytesSent: record.bytesSent,
    durationMs: Math.round(record.durationMs * 1000) / 1000,
  }
}
