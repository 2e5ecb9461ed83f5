import { describe, expect, it } from 'vitest'
import { CONFIG, cli, NODE_A, SECRET } from '../../testing/cli-fakes.js'

const OTHER = SECRET.replaceAll('1', '2')
const HOST = `${NODE_A}@other.example.org:4000`
const answers = { 'key.list': [] }

function keyList(options: Omit<Parameters<typeof cli>[1] & object, 'answers'> & { flags?: string[] } = {}) {
  const { flags = [], ...world } = options
  return cli([...flags, 'key', 'list'], { answers, ...world })
}

describe('which configuration counts', () => {
  const named = (secret: string) => CONFIG.replace(SECRET, secret)
  const files = {
    '/flag.toml': named('01'.repeat(32)),
    '/env.toml': named('02'.repeat(32)),
    '/garage-env.toml': named('03'.repeat(32)),
    '/data/rpc_secret': '04'.repeat(32),
    '/etc/carport.toml': named('05'.repeat(32)),
    '/etc/garage.toml': named('06'.repeat(32)),
    'data/rpc_secret': '07'.repeat(32),
  }

  it('-c, CARPORT_CONFIG_FILE, GARAGE_CONFIG_FILE, CARPORT_DATA_DIR, /etc/carport.toml, /etc/garage.toml, ./data', async () => {
    const env: Record<string, string> = {
      CARPORT_CONFIG_FILE: '/env.toml',
      GARAGE_CONFIG_FILE: '/garage-env.toml',
      CARPORT_DATA_DIR: '/data',
    }
    const left: Record<string, string> = { ...files }
    const secretNow = async (flags: string[] = []) =>
      (await keyList({ flags, env, files: left })).targets[0]?.rpcSecret.slice(0, 2)
    expect(await secretNow(['-c', '/flag.toml'])).toBe('01')
    expect(await secretNow()).toBe('02')
    delete env.CARPORT_CONFIG_FILE
    expect(await secretNow()).toBe('03')
    delete env.GARAGE_CONFIG_FILE
    expect(await secretNow()).toBe('04')
    delete env.CARPORT_DATA_DIR
    expect(await secretNow()).toBe('05')
    delete left['/etc/carport.toml']
    expect(await secretNow()).toBe('06')
    delete left['/etc/garage.toml']
    expect(await secretNow()).toBe('07')
    delete left['data/rpc_secret']
    expect((await keyList({ env, files: left })).err).toMatch(
      /^carport: no configuration: .*carport server --single-node$/,
    )
  })

  it('a named file that is not there is an error, not a reason to take another', async () => {
    const { err } = await keyList({ flags: ['-c', '/nope.toml'], files })
    expect(err).toBe('carport: the configuration file /nope.toml does not exist: name another with -c')
  })
})

describe('which node commands talk to', () => {
  it('the one of the configuration: where it listens, then its public address', async () => {
    const { targets } = await keyList({ nodeId: NODE_A })
    expect(targets).toEqual([
      {
        addresses: [
          { host: '127.0.0.1', port: 3901 },
          { host: 'node-a.example.org', port: 3901 },
        ],
        nodeId: NODE_A,
        rpcSecret: SECRET,
      },
    ])
  })

  it('its very address if it listens on one', async () => {
    const files = { '/etc/carport.toml': CONFIG.replace('[::]:3901', '10.0.0.7:3901') }
    expect((await keyList({ files })).targets[0]?.addresses[0]).toEqual({ host: '10.0.0.7', port: 3901 })
  })

  it('each address once', async () => {
    const files = { '/etc/carport.toml': CONFIG.replaceAll(/"[^"]+:3901"/g, '"10.0.0.7:3901"') }
    expect((await keyList({ files })).targets[0]?.addresses).toEqual([{ host: '10.0.0.7', port: 3901 }])
  })

  it('-h or CARPORT_RPC_HOST name another one', async () => {
    const expected = {
      addresses: [{ host: 'other.example.org', port: 4000 }],
      nodeId: NODE_A,
      rpcSecret: SECRET,
    }
    expect((await keyList({ flags: ['-h', HOST] })).targets).toMatchObject([expected])
    expect((await keyList({ env: { CARPORT_RPC_HOST: HOST } })).targets).toMatchObject([expected])
    expect((await keyList({ flags: ['-h', 'somewhere'] })).err).toMatch(
      /^carport: the RPC host is "somewhere"/,
    )
  })

  it('with host and secret given, no configuration is read', async () => {
    const { targets } = await keyList({ flags: ['-h', HOST, '-s', OTHER], files: {} })
    expect(targets).toMatchObject([{ rpcSecret: OTHER }])
    const byFile = await keyList({
      flags: ['-h', HOST],
      env: { GARAGE_RPC_SECRET_FILE: '/s' },
      files: { '/s': `${OTHER}\n` },
    })
    expect(byFile.targets).toMatchObject([{ rpcSecret: OTHER }])
    expect((await keyList({ flags: ['-h', HOST, '-s', 'abc'], files: {} })).err).toMatch(
      /^carport: RPC secret: rpc_secret: has 3 digits/,
    )
  })

  it('-s replaces the secret of the configuration', async () => {
    expect((await keyList({ flags: ['-s', OTHER] })).targets[0]?.rpcSecret).toBe(OTHER)
  })
})
