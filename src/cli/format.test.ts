import { describe, expect, it } from 'vitest'
import { formatAgo, formatSize, formatSizeBoth, formatTime, printable, table } from './format.js'

describe('texts for people', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 KB'],
    [999_949, '999.9 KB'],
    [999_960, '1.0 MB'],
    [1.5e12, '1.5 TB'],
    [9e18, '9000.0 PB'],
  ])('%d bytes are %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text)
  })

  it('sizes in both kinds of units', () => {
    expect(formatSizeBoth(2 ** 30)).toBe('1.0 GiB (1.1 GB)')
    expect(formatSizeBoth(10)).toBe('10 B (10 B)')
  })

  it.each([
    [0, 'just now'],
    [1, '1 second ago'],
    [59, '59 seconds ago'],
    [3600, '1 hour ago'],
    [200_000, '2 days ago'],
    [86_400 * 400, '1 year ago'],
  ])('%d seconds: %s', (seconds, text) => {
    expect(formatAgo(seconds)).toBe(text)
  })

  it('times in UTC, and what is none as it is', () => {
    expect(formatTime('2025-06-14T18:12:29.999+02:00')).toBe('2025-06-14 16:12:29 UTC')
    expect(formatTime('soon')).toBe('soon')
  })

  it('tables align all columns but leave no trailing blanks', () => {
    expect(table([['a', 'bb', 'c'], ['aaa', '', ''], [], ['ä', 'b']])).toBe('a    bb  c\naaa\n\nä    b')
    expect(table([])).toBe('')
  })

  it('control characters and direction overrides are shown, not sent', () => {
    expect(printable('a\x07\x1b\u202eb\n')).toBe('a\\u0007\\u001b\\u202eb\\u000a')
  })
})
