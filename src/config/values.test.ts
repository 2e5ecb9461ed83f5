import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nearestName } from './suggest.js'
import {
  formatHostPort,
  formatListenAddress,
  parseDuration,
  parseHostPort,
  parseListenAddress,
  parsePeer,
  parseSize,
  ValueError,
} from './values.js'

describe('sizes', () => {
  it.each<[string | number, number]>([
    [0, 0],
    [1024, 1024],
    ['1024', 1024],
    ['10B', 10],
    ['1k', 1000],
    ['1KB', 1000],
    ['1KiB', 1024],
    ['1Ki', 1024],
    ['10G', 10e9],
    ['10 GB', 10e9],
    ['1.5T', 1.5e12],
    ['1MiB', 1048576],
    ['2pib', 2 * 2 ** 50],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes)
  })

  it.each(['', 'G', '1X', '-1', '1.G', '1e3', '10 G B', 1.5, -1, Number.NaN, true, null, '9999999P'])(
    '%s is refused',
    (value) => {
      expect(() => parseSize(value)).toThrow(ValueError)
    },
  )
})

describe('durations', () => {
  it.each<[string | number, number]>([
    [30, 30_000],
    ['30', 30_000],
    ['500ms', 500],
    ['6h', 6 * 3600_000],
    ['30 minutes', 1800_000],
    ['1d 12h', 129_600_000],
    ['1d12h', 129_600_000],
    ['2 weeks', 1_209_600_000],
    ['1M', (365.25 * 86_400_000) / 12],
    ['1m', 60_000],
    ['1 year', 365.25 * 86_400_000],
    ['second', 1000],
    ['999us +1d', 86_400_001],
    ['55s500ms', 55_500],
    ['300ms20s 5day', 5 * 86_400_000 + 20_300],
    ['1y 12month', 2 * 365.25 * 86_400_000],
    ['12.3 seconds', 12_300],
    ['.5h', 1_800_000],
    ['2 h\n30', 7_230_000],
    ['1500 µs', 2],
    ['1w, 2 Days', 9 * 86_400_000],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(Math.round(ms))
  })

  it.each<[string, number]>([
    ['us', 0.001],
    ['usec', 0.001],
    ['ms', 1],
    ['msec', 1],
    ...['s', 'sec', 'second', 'seconds'].map((unit): [string, number] => [unit, 1000]),
    ...['m', 'min', 'minute', 'minutes'].map((unit): [string, number] => [unit, 60_000]),
    ...['h', 'hr', 'hour', 'hours'].map((unit): [string, number] => [unit, 3_600_000]),
    ...['d', 'day', 'days'].map((unit): [string, number] => [unit, 86_400_000]),
    ...['w', 'week', 'weeks'].map((unit): [string, number] => [unit, 604_800_000]),
    ...['M', 'month', 'months'].map((unit): [string, number] => [unit, 2_629_800_000]),
    ...['y', 'year', 'years'].map((unit): [string, number] => [unit, 31_557_600_000]),
  ])('the unit %s of systemd.time(7) is %d ms', (unit, ms) => {
    const part = fc.nat({ max: 5000 })
    const space = fc.constantFrom('', ' ', '\t', '  ')
    fc.assert(
      fc.property(part, part, space, space, (number, seconds, before, between) => {
        const text = `${before}${number}${between}${unit} ${seconds}`
        expect(parseDuration(text)).toBe(Math.round(number * ms + seconds * 1000))
        expect(parseDuration(`${seconds}s${number}${unit}`)).toBe(parseDuration(text))
      }),
      { numRuns: 50 },
    )
  })

  it('no text makes the parser slow, or gives anything else than whole milliseconds or its error', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[0-9. +,hmsdu-]{0,300}$/))
    fc.assert(
      fc.property(text, (value) => {
        try {
          const ms = parseDuration(value)
          expect(Number.isSafeInteger(ms) && ms >= 0).toBe(true)
        } catch (error) {
          expect(error).toBeInstanceOf(ValueError)
        }
      }),
    )
    expect(() => parseDuration('1 '.repeat(100_000))).toThrow(ValueError)
  })

  it.each(['', '6x', '-6h', '5d -1ms', '6h!', '1.', '1.2.3', '1e3s', '++1s', 'infinity', null, true, -1])(
    '%s is refused',
    (value) => {
      expect(() => parseDuration(value)).toThrow(ValueError)
    },
  )
})

describe('addresses', () => {
  it('are written as they were read', () => {
    for (const text of ['[::]:3900', '127.0.0.1:0', '/run/carport/s3.sock']) {
      expect(formatListenAddress(parseListenAddress(text))).toBe(text)
    }
    for (const text of ['[2001:db8::1]:3901', 'node-1.example.org:3901', '10.0.0.1:1', 'my_host:1']) {
      expect(formatHostPort(parseHostPort(text))).toBe(text)
    }
  })

  it.each(['[1.2.3.4]:1', '-bad:1', 'a b:1', 'host', 'host:', ':1', '1.2.3:1', '[::1:1', 'http://h:1'])(
    '%s is no address of a peer',
    (text) => {
      expect(() => parseHostPort(text)).toThrow(ValueError)
    },
  )

  it('of peers carry the node id in lower case', () => {
    expect(parsePeer(`${'AB'.repeat(32)}@h:1`)).toEqual({ id: 'ab'.repeat(32), host: 'h', port: 1 })
    expect(() => parsePeer(`${'AB'.repeat(31)}@h:1`)).toThrow(ValueError)
  })
})

describe('suggestions', () => {
  const known = ['metadata_dir', 'data_dir', 'metadata_fsync', 'rpc_secret', 'rpc_secret_file']

  it.each([
    ['metadata_dri', 'metadata_dir'],
    ['meta_dir', 'data_dir'],
    ['RPC_SECRET', 'rpc_secret'],
    ['rpc-secret-file', 'rpc_secret_file'],
    ['metadatafsync', 'metadata_fsync'],
  ])('%s: %s', (name, expected) => {
    expect(nearestName(name, known)).toBe(expected)
  })

  it('none for what is far from everything', () => {
    expect(nearestName('colour', known)).toBeUndefined()
  })
})
