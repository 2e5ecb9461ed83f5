import { expect, test } from 'vitest'
import { outgoingHost, publicAddress } from './own-address.js'

const rpc = {
  bindAddr: { kind: 'tcp', host: '10.1.2.3', port: 3901 },
  bindOutgoing: true,
  publicAddr: null,
  publicAddrSubnet: null,
  pingTimeoutMs: null,
  timeoutMs: null,
  bootstrapPeers: [],
} as const
const own = ['127.0.0.1', '192.168.7.8', '10.1.2.3', '2001:db8::5']

test('the announced address is the first of the own ones within rpc_public_addr_subnet', () => {
  const within = (publicAddrSubnet: string) => publicAddress({ ...rpc, publicAddrSubnet }, own)
  expect(within('10.0.0.0/8')).toBe('10.1.2.3:3901')
  expect(within('192.168.0.0/16')).toBe('192.168.7.8:3901')
  expect(within('2001:db8::/32')).toBe('[2001:db8::5]:3901')
  expect(within('172.16.0.0/12')).toBeUndefined()
})

test('rpc_public_addr comes before it, and without both none is announced', () => {
  const publicAddr = { host: 'node1.example.org', port: 1 }
  expect(publicAddress({ ...rpc, publicAddr, publicAddrSubnet: '10.0.0.0/8' }, own)).toBe(
    'node1.example.org:1',
  )
  expect(publicAddress(rpc, own)).toBeUndefined()
})

test('connections come from the address of rpc_bind_addr only where it is one', () => {
  expect(outgoingHost(rpc)).toBe('10.1.2.3')
  expect(outgoingHost({ ...rpc, bindOutgoing: false })).toBeUndefined()
  for (const host of ['0.0.0.0', '::', 'node1.example.org']) {
    expect(outgoingHost({ ...rpc, bindAddr: { ...rpc.bindAddr, host } })).toBeUndefined()
  }
})
