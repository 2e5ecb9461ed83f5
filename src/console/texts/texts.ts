import { EN } from './en'

/** The name of a text; every language has all of them. */
export type TextName = keyof typeof EN

/** The texts of one language. */
export type Texts = Readonly<Record<TextName, string>>

const texts: Texts = EN
/** The language of the texts, as HTML's "lang" has it. */
const language = 'en'

/** A text of the page, with `{name}` replaced by the values given. */
export function t(name: TextName, values: Readonly<Record<string, string | number>> = {}): string {
  return texts[name].replace(/\{(\w+)\}/g, (whole, key: string) => String(values[key] ?? whole))
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** A size in bytes as people read it. */
export function bytes(size: number): string {
  const power = size < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(size) / 10))
  const value = size / 1024 ** power
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${UNITS[power]}`
}

export function count(number: number, fractionDigits = 0): string {
  return number.toLocaleString(language, { maximumFractionDigits: fractionDigits })
}

/** Made once: a new format costs more than a row of a list. */
const TIMES = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' })

/** A time in the zone of this computer; empty for what is none. */
export function when(time: string | number | Date): string {
  const date = new Date(time)
  return Number.isNaN(date.getTime()) ? '' : TIMES.format(date)
}

const SPANS = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
] as const

/** A time in seconds as people say it, in its largest unit. */
export function duration(seconds: number): string {
  const [unit, length] = SPANS.find(([, length]) => seconds >= length) ?? SPANS[3]
  const format = new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' })
  return format.format(Math.round(seconds / length))
}
