/**
 * Texts of requests that are read by expressions, each with the worst that 16 KiB of headers let in. Steps of an expression
 * cannot be counted, so the time on the processor is: quadratic work on 16 KiB takes 100 ms, linear work far less than one.
 */
import { expect, test } from 'vitest'
import { acceptedCodings } from '../web/encoding.js'
import { etagListed } from './http/conditions.js'
import { parseHttpDate } from './http/date.js'
import { hostNameOf } from './http/host.js'
import { formBoundary } from './http/multipart-form.js'
import { parseRange } from './http/range.js'
import { aclHeaders } from './s3/access/acl/headers.js'
import type { S3Request } from './s3/request.js'
import { roleOfArn } from './sts/roles.js'

const HEADER_BYTES = 16 * 1024
/** Texts that make expressions try again and again: runs, and the characters between which they stand. */
const RUNS = [
  ' ',
  '\t',
  '0',
  'a',
  '=',
  ';',
  ',',
  '-',
  '"',
  '\\',
  '.',
  ':',
  '/',
  '; ',
  ', ',
  '= ',
  'a.',
  '-a',
  '";',
  ';q=',
]
const STARTS: Readonly<Record<string, readonly string[]>> = {
  range: ['bytes=', 'bytes=1-', 'bytes=-', 'bytes=1'],
  grant: ['id=', 'id="', 'id', 'uri=x', ''],
  form: [
    'multipart/form-data',
    'multipart/form-data;',
    'multipart/form-data; boundary=',
    'multipart/form-data;a;',
  ],
  role: ['arn:aws:iam::', 'arn:aws:iam::1:role/', 'arn:'],
  host: ['', 'a', 'a:', '[', 'xn--'],
  codings: ['', 'gzip', 'gzip;', 'gzip;q=1', 'gzip; q=0.'],
  etags: ['', '"', 'W/"', '"a"'],
  date: ['', 'Sun, 06 Nov', '2026-01-01T'],
}
const grants = (text: string) => {
  const header = (name: string) => (name === 'x-amz-grant-read' ? text : undefined)
  return aclHeaders({ header } as unknown as S3Request)
}
const READERS: Readonly<Record<string, (text: string) => unknown>> = {
  range: (text) => parseRange(text, 1000),
  grant: grants,
  form: formBoundary,
  role: roleOfArn,
  host: hostNameOf,
  codings: acceptedCodings,
  etags: (text) => etagListed(text, 'abc'),
  date: parseHttpDate,
}
const MS_MAX = 30

/** The processor time in ms that a reader takes, at the least of some tries. */
function leastMs(read: (text: string) => unknown, text: string): number {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < 3 && least > MS_MAX; i++) {
    const started = process.cpuUsage()
    try {
      read(text)
    } catch {
      // That it is refused is all the same here.
    }
    least = Math.min(least, process.cpuUsage(started).user / 1000)
  }
  return least
}

test.each(Object.keys(READERS))('a long header is read in a short time: %s', (name) => {
  for (const start of STARTS[name]!) {
    for (const run of RUNS) {
      for (const end of ['', 'x', 'x y', '!']) {
        const text = `${start}${run.repeat(HEADER_BYTES / run.length)}${end}`
        expect(leastMs(READERS[name]!, text), JSON.stringify([start, run, end])).toBeLessThan(MS_MAX)
      }
    }
  }
})
