const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
/** The last moment of the year 9999: later ones do not fit the formats. */
const MAX_MS = 253402300799999

const two = (n: number) => (n < 10 ? `0${n}` : String(n))

let formattedDay = Number.NaN
let formattedDayText = ''

function formatHttpDate(second: number): string {
  const day = Math.floor(second / 86_400)
  if (day !== formattedDay) {
    const date = new Date(day * 86_400_000)
    formattedDayText =
      `${DAYS[date.getUTCDay()]}, ${two(date.getUTCDate())} ${MONTHS[date.getUTCMonth()]} ` +
      `${String(date.getUTCFullYear()).padStart(4, '0')} `
    formattedDay = day
  }
  return `${formattedDayText}${timeOfDay(second - day * 86_400)} GMT`
}

/** `hh:mm:ss` of the seconds since midnight. */
function timeOfDay(seconds: number): string {
  const minutes = Math.floor(seconds / 60)
  return `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}:${two(seconds % 60)}`
}

let lastSecond = Number.NaN
let lastText = ''

/**
 * IMF-fixdate (RFC 9110, 5.6.7) of `ms` since the epoch. The text of the last second is kept, because every
 * answer has a `Date`.
 */
export function httpDate(ms: number): string {
  const second = Math.floor(ms / 1000)
  if (second !== lastSecond) {
    lastText = formatHttpDate(second)
    lastSecond = second
  }
  return lastText
}

/** As `httpDate`, for times other than now (`Last-Modified`): does not replace the kept text. */
export function httpDateOf(ms: number): string {
  const second = Math.floor(ms / 1000)
  return second === lastSecond ? lastText : formatHttpDate(second)
}

/** `2026-01-31T12:00:00.000Z` of `ms` since the epoch, as S3's XML has times. */
export function isoDate(ms: number): string {
  const second = Math.floor(ms / 1000)
  // Neighbours in a listing often share the second, and nearly always the day.
  if (second !== isoSecond) {
    const day = Math.floor(second / 86_400)
    if (day !== isoDay) {
      isoDayText = new Date(day * 86_400_000).toISOString().slice(0, -13)
      isoDay = day
    }
    isoSecondText = `${isoDayText}${timeOfDay(second - day * 86_400)}.`
    isoSecond = second
  }
  const millis = Math.floor(ms) - second * 1000
  return `${isoSecondText}${millis < 10 ? '00' : millis < 100 ? '0' : ''}${millis}Z`
}

let isoDay = Number.NaN
let isoDayText = ''
let isoSecond = Number.NaN
let isoSecondText = ''

/** `20260131T120000Z`, the basic ISO 8601 format of Signature V4. */
export function amzDate(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace(/[-:]/g, '')}Z`
}

const AMZ_DATE = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/

let lastAmz = ''
let lastAmzMs = Number.NaN

/** Milliseconds since the epoch of a `20260131T120000Z`; undefined if it is none. */
export function parseAmzDate(text: string): number | undefined {
  if (text === lastAmz) return lastAmzMs
  const m = AMZ_DATE.exec(text)
  if (!m) return undefined
  const [year, month, day, hour, minute, second] = m.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60) return undefined
  const ms = Date.UTC(year, month - 1, day, hour, minute, second)
  if (new Date(Date.UTC(year, month - 1, day)).getUTCDate() !== day) return undefined
  lastAmz = text
  lastAmzMs = ms
  return ms
}

const IMF =
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) (?:GMT|UTC|[+-]0000)$/
const RFC850 =
  /^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (\d\d)-([A-Z][a-z]{2})-(\d\d) (\d\d):(\d\d):(\d\d) GMT$/
const ASCTIME = /^[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d) (\d{4})$/
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/

/**
 * Milliseconds since the epoch of an HTTP date in any of the three formats of RFC 9110, or of an ISO 8601 time,
 * which some S3 clients send; undefined if it is none, so that a condition on it can be ignored.
 */
export function parseHttpDate(text: string): number | undefined {
  let m = IMF.exec(text)
  if (m) return utc(Number(m[3]), m[2]!, m[1]!, m[4]!, m[5]!, m[6]!)
  m = RFC850.exec(text)
  if (m) {
    const year = Number(m[3])
    return utc(year < 70 ? 2000 + year : 1900 + year, m[2]!, m[1]!, m[4]!, m[5]!, m[6]!)
  }
  m = ASCTIME.exec(text)
  if (m) return utc(Number(m[6]), m[1]!, m[2]!, m[3]!, m[4]!, m[5]!)
  if (ISO.test(text)) {
    const ms = Date.parse(text)
    return Number.isNaN(ms) || ms > MAX_MS ? undefined : ms
  }
  return undefined
}

function utc(
  year: number,
  monthName: string,
  day: string,
  hour: string,
  minute: string,
  second: string,
): number | undefined {
  const month = MONTHS.indexOf(monthName)
  const d = Number(day)
  const [h, m, s] = [Number(hour), Number(minute), Number(second)]
  if (month < 0 || d < 1 || h > 23 || m > 59 || s > 60) return undefined
  const midnight = Date.UTC(year, month, d)
  if (new Date(midnight).getUTCDate() !== d) return undefined
  return midnight + ((h * 60 + m) * 60 + s) * 1000
}

const ISO_8601 = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?$/

/**
 * Parses a date in ISO 8601 to ms since the epoch; undefined if it is none. A date without a zone is in UTC.
 */
export function parseIsoDate(text: string): number | undefined {
  const match = ISO_8601.exec(text)
  if (!match) return undefined
  const ms = Date.parse(match[3] === undefined ? `${text}Z` : text)
  return Number.isNaN(ms) ? undefined : ms
}
