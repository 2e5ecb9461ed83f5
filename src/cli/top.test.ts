import { EventEmitter } from 'node:events'
import type { ReadStream, WriteStream } from 'node:tty'
import { describe, expect, it } from 'vitest'
import { cli, NODE_A, NODE_B, NODE_C, STATUS } from '../../testing/cli-fakes.js'
import { quantileMs, topRow } from '../api/admin/rates.js'
import type { NodeFigures } from '../api/admin/types.js'
import { openScreen } from './screen.js'
import { renderTop, sorted } from './top/render.js'

/** Figures after `seconds`, with so many requests: half of them in 10 ms, the others in 100 ms. */
function figures(seconds: number, requests: number, values: Partial<NodeFigures> = {}): NodeFigures {
  return {
    ...{ atMs: seconds * 1000, uptimeSecs: seconds, syncQueueLength: 0 },
    process: {
      requests: {
        s3: {
          ...{ count: requests, clientErrors: requests / 10, serverErrors: requests / 100 },
          durations: [
            { seconds: 0.001, count: 0 },
            { seconds: 0.01, count: requests / 2 },
            { seconds: 0.1, count: requests },
          ],
        },
        admin: { count: 9999, clientErrors: 0, serverErrors: 0, durations: [] },
      },
      ...{ bytesIn: requests * 1000, bytesOut: requests * 5000 },
      eventLoopDelay: { p50: 0.001, p99: 0.0123, longest: 0.2 },
      memory: { rss: 80e6, heapUsed: 20e6 },
      cpuSecs: seconds / 4,
    },
    queues: [
      { name: 'blockResync', length: 7 },
      { name: 'missedWrites', length: 2 },
      { name: 'purge', length: 3 },
      { name: 'tombstones', length: 1000 },
    ],
    peers: [
      { id: NODE_B, roundTripMs: 12 },
      { id: NODE_C, roundTripMs: 34.5 },
    ],
    ...values,
  }
}

const node = (id: string, hostname = 'host') => ({
  ...{ id, hostname, isUp: true },
  role: { zone: 'z1', tags: [], capacity: 1e12 },
})
const row = (requests: number, id = NODE_A, hostname = 'a') =>
  topRow(node(id, hostname), figures(10, 0), figures(20, requests), undefined)

describe('rates', () => {
  it('are those between two looks, of the requests of those who use the store', () => {
    expect(row(1000)).toEqual({
      ...{ id: NODE_A, hostname: 'a', zone: 'z1', isUp: true, error: null },
      ...{ requestsPerSecond: 100, clientErrorsPerSecond: 10, serverErrorsPerSecond: 1 },
      ...{ bytesInPerSecond: 1e5, bytesOutPerSecond: 5e5, latencyP50Ms: 10, latencyP99Ms: 98.2 },
      ...{
        loopDelayP99Ms: 12.3,
        cpu: 0.25,
        memoryBytes: 80e6,
        resyncQueue: 7,
        otherQueues: 5,
        roundTripMs: 34.5,
      },
    })
  })

  it.each([
    ['nothing was before', undefined, figures(20, 5)],
    ['the node was started anew', figures(100, 500), figures(3, 5)],
    ['no time went by', figures(20, 5), figures(20, 5)],
    ['the node measures nothing', figures(10, 0, { process: null }), figures(20, 0, { process: null })],
  ])('are not known when %s', (_, before, now) => {
    expect(topRow(node(NODE_A), before, now, undefined)).toMatchObject({
      ...{ requestsPerSecond: null, latencyP99Ms: null, cpu: null, resyncQueue: 7 },
    })
  })

  it('quantiles lie evenly within their bucket', () => {
    const of = (...counts: number[]) => counts.map((count, i) => ({ seconds: 10 ** (i - 2), count }))
    expect(quantileMs(of(0, 0, 0), 0.5)).toBeNull()
    expect(quantileMs(of(4, 4, 4), 0.5)).toBe(5)
    expect(quantileMs(of(0, 10, 10), 0.5)).toBe(55)
    expect(quantileMs(of(1, 1, 2), 1)).toBe(1000)
  })
})

describe('the screen', () => {
  it('has a line of sums, one of heads, one for each node, and the keys', () => {
    const down = topRow({ ...node(NODE_C, 'c'), isUp: false }, undefined, undefined, undefined)
    const silent = topRow(node(NODE_B, 'b'), undefined, undefined, 'Timeout\x1b[2J')
    const lines = renderTop([row(1000), silent, down], 'n', '2026-01-01 00:00:00 UTC')
    expect(lines[0]).toBe(
      'carport top  2026-01-01 00:00:00 UTC  2 of 3 nodes up  100 requests/s  in 100.0 KB/s  out 500.0 KB/s  1.0 failed/s',
    )
    expect(lines[3]!.split(/ {2,}/)).toEqual([
      ...['aa11000000000000', 'a', 'z1', '100', '10.0', '1.0', '100.0 KB', '500.0 KB', '10 ms', '98 ms'],
      ...['12 ms', '25%', '80.0 MB', '7', '5', '35 ms'],
    ])
    expect(lines[4]).toContain('does not answer: Timeout\\u001b[2J')
    expect(lines[5]).toContain('DOWN')
    expect(lines.at(-1)).toContain('m memory')
  })

  it('says why a node without the admin API has no rates', () => {
    const bare = topRow(node(NODE_A), undefined, figures(1, 0, { process: null }), undefined)
    expect(renderTop([bare], 'n', '').join('\n')).toContain('[admin] api_bind_addr')
  })

  it('is sorted by the greatest, with what is not known last and equal ones by name', () => {
    const unknown = topRow(node('dd'.repeat(32), 'a'), undefined, undefined, undefined)
    const rows = [unknown, row(10, NODE_C, 'c'), row(10, NODE_B, 'b'), row(500, NODE_A, 'z')]
    expect(sorted(rows, 'r').map(({ hostname }) => hostname)).toEqual(['z', 'b', 'c', 'a'])
    expect(sorted(rows, 'n').map(({ hostname }) => hostname)).toEqual(['a', 'b', 'c', 'z'])
  })
})

describe('carport top', () => {
  const answers = () => {
    let looks = 0
    return {
      status: STATUS,
      'node.figures': () => {
        looks++
        return { success: { [NODE_A]: figures(10 * looks, 100 * looks) }, error: { [NODE_B]: 'Timeout' } }
      },
    }
  }

  it('without a terminal prints the rates once', async () => {
    const { status, out, calls } = await cli(['top'], { answers: answers() })
    expect(status).toBe(0)
    expect(calls.filter(({ operation }) => operation === 'node.figures')).toHaveLength(2)
    expect(out).toMatch(/^carport top .* 2 of 2 nodes up {2}10\.0 requests\/s/)
    expect(out).toContain('does not answer: Timeout')
    expect(out).not.toContain('q quit')
  })

  it('--json prints rows as data, also on a terminal', async () => {
    const { out, screens } = await cli(['top', '--json'], { answers: answers(), keys: [] })
    expect(screens).toEqual([])
    expect(JSON.parse(out)).toMatchObject([
      { id: NODE_A, requestsPerSecond: 10 },
      { id: NODE_B, error: 'Timeout' },
    ])
  })

  it('on a terminal draws again and again, sorts by a key, and ends by q', async () => {
    const { status, out, screens } = await cli(['top', '--sort', 'requests'], {
      answers: answers(),
      keys: [undefined, 'm', 'x', 'q'],
    })
    expect({ status, out }).toEqual({ status: 0, out: '' })
    expect(screens.map((screen) => /Sorted by (\w+)/.exec(screen)?.[1])).toEqual([
      ...['requests', 'requests', 'memory', 'memory', undefined],
    ])
    expect(screens[0]).toContain('- requests/s')
    expect(screens[1]).toContain('10.0 requests/s')
    expect(screens.at(-1)).toBe('closed')
  })

  it('gives the terminal back when a node stops answering', async () => {
    let looks = 0
    const { status, screens } = await cli(['top'], {
      answers: {
        ...answers(),
        status: () => {
          if (++looks > 1) throw new Error('gone')
          return STATUS
        },
      },
      keys: [undefined],
    })
    expect(status).toBe(1)
    expect(screens.at(-1)).toBe('closed')
  })

  it.each([
    ['--interval', '0.1'],
    ['--sort', 'colour'],
  ])('%s %s is wrong', async (option, value) => {
    expect((await cli(['top', option, value], { answers: answers() })).status).toBe(2)
  })
})

describe('a terminal as a screen', () => {
  function terminal() {
    let raw = false
    let written = ''
    const input = Object.assign(new EventEmitter(), {
      isTTY: true,
      setRawMode: (mode: boolean) => {
        raw = mode
      },
      resume: () => {},
      pause: () => {},
    }) as unknown as ReadStream
    const output = {
      ...{ isTTY: true, columns: 10, rows: 3 },
      write: (text: string) => {
        written += text
      },
    } as unknown as WriteStream
    const take = () => {
      const text = written
      written = ''
      return text
    }
    return { input, output, isRaw: () => raw, take }
  }

  it('cuts what does not fit, and is given back as it was', async () => {
    const { input, output, isRaw, take } = terminal()
    const screen = openScreen(input, output, {})!
    expect(isRaw()).toBe(true)
    expect(take()).toBe('\x1b[?1049h\x1b[?25l')
    screen.draw(['0123456789ab', 'two', 'three', 'four'])
    expect(take()).toBe('\x1b[H0123456789\x1b[K\r\ntwo\x1b[K\r\nthree\x1b[K\x1b[J')
    screen.close()
    expect(take()).toBe('\x1b[?25h\x1b[?1049l')
    expect(isRaw()).toBe(false)
  })

  it('tells keys as they come, also those pressed before they were asked for', async () => {
    const { input, output } = terminal()
    const screen = openScreen(input, output, {})!
    input.emit('keypress', 'm', { name: 'm' })
    expect(await screen.nextKey(1000)).toBe('m')
    const waiting = screen.nextKey(60_000)
    input.emit('keypress', undefined, { name: 'c', ctrl: true })
    expect(await waiting).toBe('ctrl-c')
    expect(await screen.nextKey(1)).toBeUndefined()
    screen.close()
  })

  it('is not there without a terminal, or with one that cannot move its cursor', () => {
    const { input, output } = terminal()
    expect(openScreen(input, { ...output, isTTY: false } as WriteStream, {})).toBeUndefined()
    expect(openScreen(input, output, { TERM: 'dumb' })).toBeUndefined()
  })
})
