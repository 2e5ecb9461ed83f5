import { describe, expect, it } from 'vitest'
import { ConfigError } from './config.js'
import { secretFilesNeeded, singleNodeConfig, singleNodeDataDir, singleNodeRpcConfig } from './single-node.js'

const SECRET = 'ab'.repeat(32)
const MASTER_KEY = 'ef'.repeat(32)
const readSecretFile = (path: string) => {
  expect(['/srv/rpc_secret', '/srv/sse_master_key']).toContain(path)
  return { text: path === '/srv/rpc_secret' ? SECRET : MASTER_KEY, mode: 0o100600 }
}

describe('a single node', () => {
  it('listens on loopback and keeps one copy below its folder', () => {
    const config = singleNodeConfig({ dataDir: '/srv', env: {}, readSecretFile })
    expect(config).toMatchObject({
      configFile: null,
      metadataDir: '/srv/meta',
      dataDirs: [{ path: '/srv/data' }],
      replicationFactor: 1,
      metadataFsync: true,
      rpc: { bindAddr: { host: '127.0.0.1', port: 3901 } },
      s3Api: { bindAddr: { host: '127.0.0.1', port: 3900 }, region: 'us-east-1', rootDomain: 's3.localhost' },
      web: { bindAddr: { host: '127.0.0.1', port: 3902 }, rootDomain: 'web.localhost' },
      admin: { bindAddr: { host: '127.0.0.1', port: 3903 } },
      secrets: { rpcSecret: SECRET, sseMasterKeys: [MASTER_KEY], adminToken: null, metricsToken: null },
    })
    expect(Object.isFrozen(config)).toBe(true)
    expect(secretFilesNeeded('/srv', {})).toEqual(['/srv/rpc_secret', '/srv/sse_master_key'])
    const env = { CARPORT_RPC_SECRET_FILE: '/x', GARAGE_SSE_MASTER_KEY: MASTER_KEY }
    expect(secretFilesNeeded('/srv', env)).toEqual([])
  })

  it('takes addresses, region, domain and secrets from the environment, and flags before it', () => {
    const env = {
      CARPORT_S3_BIND_ADDR: '0.0.0.0:80',
      CARPORT_ADMIN_BIND_ADDR: '[::]:81',
      CARPORT_S3_REGION: 'garage',
      CARPORT_ROOT_DOMAIN: '.example.org',
      CARPORT_RPC_SECRET: 'cd'.repeat(32),
      GARAGE_ADMIN_TOKEN: 'token',
    }
    const config = singleNodeConfig({
      dataDir: '/srv',
      env,
      readSecretFile,
      listen: { admin: '127.0.0.1:82' },
    })
    expect(config).toMatchObject({
      s3Api: { bindAddr: { host: '0.0.0.0', port: 80 }, region: 'garage', rootDomain: 's3.example.org' },
      web: { rootDomain: 'web.example.org' },
      admin: { bindAddr: { host: '127.0.0.1', port: 82 } },
      secrets: { rpcSecret: 'cd'.repeat(32), adminToken: 'token' },
    })
    expect(singleNodeDataDir({ CARPORT_DATA_DIR: '/x', GARAGE_DATA_DIR: '/y' })).toBe('/x')
    expect(singleNodeDataDir({})).toBe('data')
  })

  it('tells what is wrong', () => {
    const env = { CARPORT_S3_BIND_ADDR: 'everywhere', CARPORT_RPC_SECRET: 'x' }
    const attempt = () => singleNodeConfig({ dataDir: '/srv', env, readSecretFile })
    expect(attempt).toThrow(ConfigError)
    expect(attempt).toThrow(/s3_api.api_bind_addr: is "everywhere"[\s\S]*rpc_secret: has characters/)
  })

  it('gives the command line its RPC secret', () => {
    expect(singleNodeRpcConfig({ dataDir: '/srv', env: {}, readSecretFile }).rpcSecret).toBe(SECRET)
  })
})
