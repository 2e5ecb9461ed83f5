import { expect, test } from 'vitest'
import { visible } from './visible'

test.each([
  ['plain name.txt', 'plain name.txt'],
  ['<b>bold</b> & "more"', '<b>bold</b> & "more"'],
  ['naïve – 日本語 – עברית – 🚂', 'naïve – 日本語 – עברית – 🚂'],
  ['line\nfeed\u0000\u007f\u0085', 'line\\u000afeed\\u0000\\u007f\\u0085'],
  ['exe.\u202etxt.jpg', 'exe.\\u202etxt.jpg'],
  [
    '\u061c\u200b\u200f\u2028\u2066\u00ad\ufeff\ufff9',
    '\\u061c\\u200b\\u200f\\u2028\\u2066\\u00ad\\ufeff\\ufff9',
  ],
  ['hidden \u{e0041} tag', 'hidden \\u{e0041} tag'],
  ['lone \ud800 half', 'lone \\ud800 half'],
  [' ', '␣'],
  [' a b ', '␣a b␣'],
  ['', ''],
])('%j is shown as %j', (text, shown) => {
  expect(visible(text)).toBe(shown)
})
