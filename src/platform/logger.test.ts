import { describe, expect, it } from 'vitest'
import { createLog, textLine } from './logger.js'

const clock = { nowMs: () => Date.UTC(2026, 0, 2, 3, 4, 5, 678) }
const TIME = '2026-01-02T03:04:05.678Z'

/** What a log writes in `format` when `use` uses it. */
function written(format: 'text' | 'json', use: (log: ReturnType<typeof createLog>) => void, level = 'info') {
  const lines: string[] = []
  use(createLog({ level: level as 'info', format }, clock, (line) => lines.push(line)))
  return lines
}

describe('a log in JSON', () => {
  it('has a line for each entry, with the fields of its parents', () => {
    const lines = written('json', (log) => {
      log
        .child({ node: 'n1' })
        .child({ table: 'object' })
        .warn({ rows: 3n, at: { key: 'a\nb' } }, 'slow')
    })
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatch(/^[^\n]*\n$/)
    expect(JSON.parse(lines[0]!)).toEqual({
      ...{ time: TIME, level: 'warn', message: 'slow' },
      ...{ node: 'n1', table: 'object', rows: '3', at: { key: 'a\nb' } },
    })
  })

  it('has the stack and the cause of errors, under whatever name', () => {
    const reason = new Error('the disk is gone', { cause: new Error('EIO') })
    const [line] = written('json', (log) => log.error({ reason, err: reason }, 'failed'))
    const fields = JSON.parse(line!) as Record<string, string>
    for (const text of [fields.reason, fields.err]) {
      expect(text).toMatch(/^Error: the disk is gone\n +at .*\(cause: Error: EIO\)$/s)
    }
  })

  it('survives what JSON cannot hold', () => {
    const circle: Record<string, unknown> = { big: 2n ** 70n }
    circle.self = circle
    expect(written('json', (log) => log.info({ circle, nothing: undefined }, 'x'))).toHaveLength(1)
  })
})

describe('a log in text', () => {
  it('is one line for people, whatever the fields hold', () => {
    const lines = written('text', (log) => {
      log.info({ node: 'n1', path: 'a b', count: 2, gone: undefined }, 'ready')
      log.error({ err: new Error('two\nlines') }, 'failed')
    })
    expect(lines[0]).toBe(`${TIME} INFO  ready node=n1 path="a b" count=2\n`)
    expect(lines[1]).toMatch(new RegExp(`^${TIME} ERROR failed err="Error: two.*"\\n$`))
    expect(lines[1]!.match(/\n/g)).toHaveLength(1)
  })

  it('shows a line of the request log too', () => {
    const line = textLine(JSON.stringify({ time: TIME, api: 's3', status: 200 }))
    expect(line).toBe(`${TIME} INFO  request api=s3 status=200\n`)
  })
})

it.each([
  ['silent', []],
  ['error', ['error']],
  ['warn', ['warn', 'error']],
  ['info', ['info', 'warn', 'error']],
  ['debug', ['debug', 'info', 'warn', 'error']],
])('at the level %s only those lines are written, and no others are made', (level, expected) => {
  let read = 0
  const fields = {
    get seen() {
      return ++read
    },
  }
  const lines = written(
    'json',
    (log) => {
      for (const name of ['debug', 'info', 'warn', 'error'] as const) log[name](fields, 'x')
    },
    level,
  )
  expect(lines.map((line) => (JSON.parse(line) as { level: string }).level)).toEqual(expected)
  expect(read).toBe(expected.length)
})

it('fields that are named like secrets are never written, at the top or one level below', () => {
  const secret = 'hunter2'
  for (const format of ['text', 'json'] as const) {
    const text = written(format, (log) => {
      log.info({ secret, token: secret, authorization: secret, config: { rpcSecret: secret } }, 'a')
      log.child({ password: secret, key: { secretAccessKey: secret } }).info({}, 'b')
    }).join('')
    expect(text).not.toContain(secret)
    expect(text.match(/\[redacted\]/g)!.length).toBeGreaterThanOrEqual(5)
  }
})
