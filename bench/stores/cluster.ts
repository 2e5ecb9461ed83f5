import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { withChildren } from '../proc.js'
import { ACCESS_KEY, configText, type NodePorts, targetOf } from './cluster-config.js'
import { freePorts, output, ServerProcess, until } from './server-process.js'
import type { Cluster, ClusterSpec } from './store.js'
import { Wan } from './wan.js'

/** A program with Garage's command line and configuration. */
export interface ClusterProgram {
  name: string
  command: readonly string[]
  fsync: boolean
  /** More lines for the top level of the configuration, the same for all nodes or by the number of the node. */
  extra?: string | ((node: number) => string)
  env?: NodeJS.ProcessEnv
  /** See Cluster.backlog. */
  backlog(cluster: {
    cli(...args: string[]): Promise<string>
    adminPorts: readonly number[]
  }): Promise<number>
}

const CAPACITY = '1T'
const CONNECT_MS_MAX = 60_000

/** Starts nodes, connects them, lays them out over zones in turn and gives them a key. Requests go to the first node. */
export async function startCluster(
  dir: string,
  spec: ClusterSpec,
  program: ClusterProgram,
): Promise<Cluster & { restart(): Promise<number>; cli(...args: string[]): Promise<string> }> {
  const { nodes: count, zones, replicationFactor, delayMs } = spec
  const zoneOf = (i: number) => i % zones
  const ports = await freePorts(count * 4)
  const nodePorts = Array.from({ length: count }, (_, i): NodePorts => {
    const [s3, rpc, admin, proxy] = ports.slice(i * 4) as [number, number, number, number]
    return { s3, rpc, admin, publicPort: delayMs === undefined ? rpc : proxy }
  })
  const wan =
    delayMs === undefined
      ? undefined
      : await Wan.open(
          nodePorts.map(({ publicPort, rpc }, i) => ({ port: publicPort, target: rpc, zone: zoneOf(i) })),
          delayMs,
          spec.jitterMs ?? 0,
        )
  const configs = nodePorts.map((ports, i) =>
    writeConfig(join(dir, `n${i}`), ports, replicationFactor, {
      fsync: program.fsync,
      extra: typeof program.extra === 'function' ? program.extra(i) : program.extra,
    }),
  )
  const servers = configs.map(
    (config, i) =>
      new ServerProcess(
        [...program.command, '-c', config, 'server'],
        { CARPORT_LOG: 'warn', ...program.env },
        join(dir, `n${i}`, 'log'),
      ),
  )
  const cliOf = (i: number, args: readonly string[]) =>
    output([...program.command, '-c', configs[i]!, ...args], program.env)
  const cli = (...args: string[]) => cliOf(0, args)
  const endpointOf = (i: number) => `http://127.0.0.1:${nodePorts[i]!.s3}`
  const target = targetOf(endpointOf(0))
  const tellPids = () => wan?.setPids(servers.map((server) => server.pid ?? null))
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop('SIGKILL')))
    wan?.close()
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    for (const server of servers) server.start()
    // Tell the proxy the pids before the first connection, so that it knows each one's zone.
    await tellPids()
    await Promise.all(servers.map((server, i) => server.untilAnswering(endpointOf(i))))
    const ids: string[] = []
    for (let i = 0; i < count; i++) {
      await until(`node ${i} of ${program.name}`, CONNECT_MS_MAX, async () => {
        ids[i] = (await cliOf(i, ['node', 'id', '-q'])).trim()
        return ids[i] !== ''
      })
    }
    for (const id of ids.slice(1)) {
      await until(`a connection to ${id}`, CONNECT_MS_MAX, () => cli('node', 'connect', id).then(() => true))
    }
    for (const [i, id] of ids.entries()) {
      const node = id.slice(0, 16)
      await until(`a role for ${node}`, CONNECT_MS_MAX, () =>
        cli('layout', 'assign', '-z', `z${zoneOf(i) + 1}`, '-c', CAPACITY, node).then(() => true),
      )
    }
    await cli('layout', 'apply', '--version', '1')
    await until('a key', CONNECT_MS_MAX, () =>
      cli('key', 'import', '--yes', '-n', 'bench', ACCESS_KEY.id, ACCESS_KEY.secret).then(() => true),
    )
    await cli('key', 'allow', '--create-bucket', ACCESS_KEY.id)
    await servers[0]!.untilServing(target)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    name: program.name,
    target,
    pids: () => withChildren(servers.flatMap((server) => server.pid ?? [])),
    async stopNode(i, signal) {
      await servers[i]!.stop(signal)
      await tellPids()
    },
    async startNode(i) {
      servers[i]!.start()
      await tellPids()
      await servers[i]!.untilServing(targetOf(endpointOf(i)))
    },
    cli,
    backlog: () => program.backlog({ cli, adminPorts: nodePorts.map(({ admin }) => admin) }),
    setZone: async (zone, state) => wan?.setZone(zone, state),
    measureRoundTrips: async (tries) => (wan ? wan.measureRoundTrips(tries) : []),
    async restart() {
      await servers[0]!.stop()
      const startedMs = servers[0]!.start()
      await tellPids()
      await servers[0]!.untilServing(target)
      return performance.now() - startedMs
    },
    stop,
  }
}

function writeConfig(
  dir: string,
  ports: NodePorts,
  replicationFactor: number,
  { fsync, extra }: { fsync: boolean; extra: string | undefined },
): string {
  mkdirSync(dir, { recursive: true })
  const file = join(dir, 'node.toml')
  const text = configText(dir, ports, { replicationFactor, fsync, ...(extra !== undefined && { extra }) })
  writeFileSync(file, text, { mode: 0o600 })
  return file
}
