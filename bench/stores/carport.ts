import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { withChildren } from '../proc.js'
import { startCluster } from './cluster.js'
import { ACCESS_KEY, configText, targetOf } from './cluster-config.js'
import { freePorts, output, ServerProcess } from './server-process.js'
import type { Contender, Store } from './store.js'

/** The compiled program, beside the compiled benchmark. */
const PROGRAM = join(import.meta.dirname, '../../src/cli/main.js')
const GENERATOR = join(import.meta.dirname, '../generate-rows.js')

/** Carport with its default settings, or with fsync off. */
export function carport(name: string, fsync: boolean): Contender {
  const command = [process.execPath, PROGRAM]
  return {
    name,
    start: (dir) => startSingle(name, dir, fsync, command),
    startCluster: (dir, spec) =>
      startCluster(dir, spec, {
        ...{ name, command, fsync },
        async backlog(cluster) {
          const { nodes } = JSON.parse(await cluster.cli('status', '--json')) as {
            nodes: { isUp: boolean; syncQueueLength: number | null }[]
          }
          return nodes.reduce((sum, { isUp, syncQueueLength: n }) => sum + (isUp && n !== null ? n : 1), 0)
        },
      }),
  }
}

async function startSingle(
  name: string,
  dir: string,
  fsync: boolean,
  command: readonly string[],
): Promise<Store> {
  mkdirSync(dir, { recursive: true })
  const [s3, rpc, admin] = (await freePorts(3)) as [number, number, number]
  const config = join(dir, 'node.toml')
  writeFileSync(
    config,
    configText(dir, { s3, rpc, publicPort: rpc, admin }, { replicationFactor: 1, fsync }),
    {
      mode: 0o600,
    },
  )
  const args = ['server', '-c', config, '--single-node', '--default-bucket']
  const server = new ServerProcess(
    [...command, ...args],
    {
      CARPORT_DEFAULT_ACCESS_KEY: ACCESS_KEY.id,
      CARPORT_DEFAULT_SECRET_KEY: ACCESS_KEY.secret,
      CARPORT_LOG: 'warn',
    },
    join(dir, 'log'),
  )
  const target = targetOf(`http://127.0.0.1:${s3}`)
  server.start()
  // The key's permission on the bucket is the last thing that the first start makes.
  await server.untilServing(target, '/default-bucket')
  return {
    name,
    target,
    pids: () => (server.pid === undefined ? [] : withChildren([server.pid])),
    async generate(bucket, count, isFlat = false) {
      await server.stop()
      await output(
        [process.execPath, GENERATOR, join(dir, 'meta'), bucket, `${count}`, ...(isFlat ? ['flat'] : [])],
        {},
        0,
      )
      server.start()
      await server.untilServing(target)
    },
    async restart() {
      await server.stop()
      const startedMs = server.start()
      await server.untilServing(target)
      return performance.now() - startedMs
    },
    async stop() {
      await server.stop('SIGKILL')
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
