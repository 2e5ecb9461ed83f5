import { describe, expect, it } from 'vitest'
import { TrustedProxies } from './trusted-proxies.js'

const proxies = new TrustedProxies(['127.0.0.1', '10.0.0.0/8', 'fd00::/8'])

describe('who the client is', () => {
  it.each([
    [
      'a stranger that says it is another',
      '192.0.2.9',
      { 'x-forwarded-for': '1.1.1.1', 'x-forwarded-proto': 'https' },
      '192.0.2.9',
      undefined,
    ],
    [
      'a client of a proxy',
      '10.1.1.1',
      { 'x-forwarded-for': '198.51.100.7', 'x-forwarded-proto': 'https' },
      '198.51.100.7',
      true,
    ],
    [
      'a client of a proxy that sends the header itself',
      '10.1.1.1',
      { 'x-forwarded-for': '1.1.1.1, 198.51.100.7' },
      '198.51.100.7',
      undefined,
    ],
    [
      'a client of two proxies',
      '127.0.0.1',
      { 'x-forwarded-for': '198.51.100.7, 10.2.2.2', 'x-forwarded-proto': 'http' },
      '198.51.100.7',
      false,
    ],
    [
      'a client of two proxies that each tell the protocol',
      '127.0.0.1',
      { 'x-forwarded-for': '198.51.100.7, 10.2.2.2', 'x-forwarded-proto': 'https,http' },
      '198.51.100.7',
      true,
    ],
    [
      'an IPv6 client with its port',
      'fd00::1',
      { 'x-forwarded-for': '[2001:db8::7]:4711' },
      '2001:db8::7',
      undefined,
    ],
    [
      'an IPv4 client with its port',
      '127.0.0.1',
      { 'x-forwarded-for': '198.51.100.7:4711' },
      '198.51.100.7',
      undefined,
    ],
    ['a proxy that hides its client', '127.0.0.1', { 'x-forwarded-for': 'unknown' }, '127.0.0.1', undefined],
    ['a proxy that says nothing', '127.0.0.1', {}, '127.0.0.1', undefined],
    [
      'RFC 7239',
      '127.0.0.1',
      { forwarded: 'for=198.51.100.7;proto=https, for="[fd00::2]:80"' },
      '198.51.100.7',
      true,
    ],
    [
      'Forwarded that the client sent past a proxy with X-Forwarded-For',
      '127.0.0.1',
      { 'x-forwarded-for': '198.51.100.7', forwarded: 'for=1.1.1.1;proto=https' },
      '198.51.100.7',
      undefined,
    ],
    ['a Unix socket', '', { 'x-forwarded-for': '198.51.100.7' }, '198.51.100.7', undefined],
    [
      'an IPv4 proxy on an IPv6 socket',
      '::ffff:10.1.1.1',
      { 'x-forwarded-for': '198.51.100.7' },
      '198.51.100.7',
      undefined,
    ],
  ])('%s', (_, peer, headers, address, secure) => {
    expect(proxies.clientOf(peer, headers)).toEqual({ address, secure })
  })

  it('takes time in proportion to the header', () => {
    const long = Array.from({ length: 4000 }, () => '10.1.1.1').join(',')
    expect(proxies.clientOf('10.0.0.1', { 'x-forwarded-for': long }).address).toBe('10.1.1.1')
  })
})
