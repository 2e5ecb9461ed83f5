/** The commands that the console gives away: a shell must read in them what the page meant, whatever a key is called. */
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { expect, test } from 'vitest'

// By its path: it is typed for browsers, and not by the configuration of this folder.
const path: string = '../src/console/commands.ts'
const { word, s3Word, adminCommand } = (await import(path)) as {
  word(text: string): string
  s3Word(bucket: string, key: string): string
  adminCommand(endpoint: string, args: object): string
}

/** What a shell makes of words, one a line; its own line ends are told by a NUL. */
function asRead(words: readonly string[]): string[] {
  const script = `printf '%s\\0' ${words.join(' ')}`
  return execFileSync('bash', ['-c', script], { encoding: 'utf8' }).split('\0').slice(0, -1)
}

const NASTY = [
  ...[
    'plain/key.txt',
    'with space',
    "it's",
    '"double"',
    '$(touch /tmp/ran)',
    '`touch /tmp/ran`',
    '; rm -rf /',
    '\\',
    '-rf',
  ],
  ...[
    '\n',
    'a\tb',
    "\u0007'\u001b[31m\u009b",
    '*',
    '~',
    'ünïcödé 🚗',
    '$HOME',
    '!history',
    '#comment',
    "$'\\x41'",
    '%s',
  ],
]

test('words come out of a shell as they went in', () => {
  expect(asRead(NASTY.map(word))).toEqual(NASTY)
  const text = fc.string({ unit: 'grapheme', minLength: 1 }).filter((each) => !each.includes('\0'))
  fc.assert(
    fc.property(
      fc.array(fc.oneof(text, fc.constantFrom(...NASTY)), { minLength: 1, maxLength: 40 }),
      (texts) => {
        expect(asRead(texts.map(word))).toEqual(texts)
      },
    ),
    { numRuns: 30 },
  )
})

test('no control character reaches a terminal, and objects and JSON are one word each', () => {
  for (const text of NASTY) expect(word(text)).not.toMatch(/[\x00-\x1f\x7f-\x9f]/)
  expect(asRead([s3Word('photos', "a'b; c")])).toEqual(["s3://photos/a'b; c"])
  const args = { id: 'x', policy: { Statement: ["it's", '$(x)'] } }
  expect(asRead([adminCommand('UpdateBucketSettings', args)])).toEqual([
    ...['carport', 'json-api', 'UpdateBucketSettings', JSON.stringify(args)],
  ])
})
