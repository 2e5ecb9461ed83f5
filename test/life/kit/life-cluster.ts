import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePorts } from '../../../bench/stores/server-process.js'
import { Balancer } from './balancer.js'
import { LifeNode, type NodeSettings } from './life-node.js'

const run = promisify(execFile)

interface StatusNode {
  id: string
  isUp: boolean
  draining: boolean
  role: unknown
  syncQueueLength: number | null
  partitions: { compared: number; total: number } | null
}

/** Nodes that come and go, each a process of its own, behind one endpoint that fails over. */
export class LifeCluster {
  readonly dir = mkdtempSync(join(tmpdir(), 'carport-life-'))
  /** All nodes that were ever made, by name. */
  readonly nodes = new Map<string, LifeNode>()
  readonly #hostsFile = join(this.dir, 'hosts')
  readonly #hosts = new Map<string, string>()
  #layoutVersion = 0
  #moves = 0

  private constructor(
    readonly replicationFactor: number,
    readonly balancer: Balancer,
  ) {
    this.#writeHosts()
  }

  static async create(replicationFactor: number): Promise<LifeCluster> {
    return new LifeCluster(replicationFactor, await Balancer.listen())
  }

  /** Makes a node and starts it; it joins those that run by their addresses. */
  async addNode(name: string, zone: string, settings: Partial<NodeSettings> = {}): Promise<LifeNode> {
    const node = await this.makeNode(name, zone, settings)
    await this.start(node)
    await node.hurry()
    return node
  }

  /** Makes a node that is not started yet. */
  async makeNode(name: string, zone: string, settings: Partial<NodeSettings> = {}): Promise<LifeNode> {
    const [s3Port, rpcPort, adminPort] = await freePorts(3)
    this.setHost(hostNameOf(name), '127.0.0.1')
    const node = new LifeNode(
      this.dir,
      {
        name,
        zone,
        host: '127.0.0.1',
        s3Port: s3Port!,
        rpcPort: rpcPort!,
        adminPort: adminPort!,
        publicAddress: `${hostNameOf(name)}:${rpcPort}`,
        bootstrapPeers: this.running().map(({ id, settings }) => `${id}@${settings.publicAddress}`),
        dataFolders: [{ path: 'data' }],
        replicationFactor: this.replicationFactor,
        ...settings,
      },
      {
        PATH: process.env.PATH,
        LIFE_HOSTS: this.#hostsFile,
        NODE_OPTIONS: `--import=${join(import.meta.dirname, 'hosts.mjs')}`,
      },
    )
    this.nodes.set(name, node)
    return node
  }

  node(name: string): LifeNode {
    return this.nodes.get(name)!
  }

  running(): LifeNode[] {
    return [...this.nodes.values()].filter(({ running }) => running)
  }

  async start(node: LifeNode): Promise<void> {
    await node.start()
    // The first release has no admin API over HTTP, which tells the id of others.
    if (node.settings.program) node.id = (await this.cli(node, 'node', 'id', '-q')).trim().split('@')[0]!
    this.balancer.add(node.name, node.settings.host, node.settings.s3Port)
  }

  /** Gives a host name an address, for nodes that look it up from now on. */
  setHost(name: string, address: string): void {
    this.#hosts.set(name, address)
    this.#writeHosts()
  }

  #writeHosts(): void {
    writeFileSync(this.#hostsFile, [...this.#hosts].map(([name, address]) => `${address} ${name}\n`).join(''))
  }

  /** Runs a command of the command line, that of the node's release, against a node; resolves with its output. */
  async cli(node: LifeNode, ...args: string[]): Promise<string> {
    const [command, ...first] = node.process.program
    const { stdout } = await run(command, [...first, '-c', node.config, ...args], {
      env: { PATH: process.env.PATH },
    })
    return stdout
  }

  /** Assigns nodes their zone and a capacity, removes others, and applies that on `on`. */
  async layOut(
    on: LifeNode,
    changes: { assign?: readonly LifeNode[]; remove?: readonly LifeNode[]; gateways?: readonly LifeNode[] },
  ): Promise<void> {
    const { assign = [], remove = [], gateways = [] } = changes
    await until(60_000, `${on.name} knows the new nodes`, async () => {
      const { nodes } = await on.admin<{ nodes: StatusNode[] }>('GetClusterStatus')
      return assign.every(({ id }) => nodes.some((known) => known.id === id && known.isUp))
    })
    const role = (capacity: number | null) => (node: LifeNode) => ({
      id: node.id,
      zone: node.settings.zone,
      capacity,
      tags: [],
    })
    await on.admin('UpdateClusterLayout', {
      roles: [
        ...assign.map(role(10e9)),
        ...gateways.map(role(null)),
        ...remove.map(({ id }) => ({ id, remove: true })),
      ],
    })
    await on.admin('ApplyClusterLayout', { version: this.#layoutVersion + 1 })
    this.#layoutVersion++
  }

  /** Lays nodes out for the first time by the command line alone, as those of the first release need it. */
  async layOutByCommands(nodes: readonly LifeNode[]): Promise<void> {
    const [on] = nodes as [LifeNode, ...LifeNode[]]
    for (const node of nodes) {
      if (node !== on) await this.cli(on, 'node', 'connect', `${node.id}@${node.settings.publicAddress}`)
      await this.cli(on, 'layout', 'assign', '-z', node.settings.zone, '-c', '10G', node.id)
    }
    this.#layoutVersion++
    await this.cli(on, 'layout', 'apply', '--version', String(this.#layoutVersion))
  }

  /** Lets the layout change go on without the nodes that do not run any more, as `layout skip-dead-nodes` does. */
  async skipDeadNodes(on: LifeNode): Promise<void> {
    await on.admin('ClusterLayoutSkipDeadNodes', { version: this.#layoutVersion, allowMissingData: true })
  }

  /** Gives a node that is stopped another address, and its host name too, unless told. */
  move(node: LifeNode, { named } = { named: true }): void {
    this.#moves++
    node.settings.host = `127.0.${1 + (this.#moves >> 7)}.${1 + (this.#moves & 127)}`
    if (named) this.setHost(hostNameOf(node.name), node.settings.host)
  }

  /** Takes a node's host name away. */
  forgetHost(name: string): void {
    this.#hosts.delete(hostNameOf(name))
    this.#writeHosts()
  }

  /**
   * Waits until every running node was found to have all that it must have, with one version of the layout left. While a client
   * writes, each is so at another moment.
   * @param nodes those that are asked; all that run unless told
   */
  async settled(timeoutMs = 300_000, nodes: readonly LifeNode[] = this.running()): Promise<void> {
    let waiting = nodes
    let state = ''
    await until(
      timeoutMs,
      () => `the cluster has settled: ${state}`,
      async () => {
        const states = await Promise.all(waiting.map((node) => this.#stateOf(node)))
        state = states.filter((text) => text !== '').join('; ')
        waiting = waiting.filter((_, i) => states[i] !== '')
        return waiting.length === 0
      },
    )
  }

  /** Waits until the others say, as `carport status` does, that a node holds nothing that they need. */
  async safeToStop(node: LifeNode): Promise<void> {
    const other = this.running().find(({ name }) => name !== node.name)!
    await until(120_000, `${node.name} may be stopped`, async () => {
      const { safeToStop } = await other.admin<{ safeToStop: string[] }>('GetClusterProgress')
      return safeToStop.includes(node.id)
    })
  }

  /** Waits until no node has anything left to do, as every node tells it; no client may be busy. */
  async allDone(): Promise<void> {
    for (const node of this.running()) {
      let told: { done: boolean } | undefined
      await until(
        120_000,
        () => `${node.name} says that all is done: ${JSON.stringify(told)}`,
        async () => {
          told = await node.admin<{ done: boolean }>('GetClusterProgress')
          return told.done
        },
      )
    }
  }

  /** Waits until each running node is linked with each other one. */
  async linked(): Promise<void> {
    const nodes = this.running()
    await until(60_000, 'all nodes see each other', async () => {
      const seen = await Promise.all(
        nodes.map((node) => node.admin<{ nodes: StatusNode[] }>('GetClusterStatus')),
      )
      return seen.every((status) =>
        nodes.every(({ id }) => status.nodes.some((known) => known.id === id && known.isUp)),
      )
    })
  }

  /** What keeps a node from being settled; empty if it is. */
  async #stateOf(node: LifeNode): Promise<string> {
    const { nodes } = await node.admin<{ nodes: StatusNode[] }>('GetClusterStatus')
    const own = nodes[0]!
    const away = this.running().filter(({ id }) => !nodes.some((known) => known.id === id && known.isUp))
    if (away.length > 0) return `${node.name} does not see ${away.map(({ name }) => name)}`
    const history = await node.admin<{ currentVersion: number; updateTrackers: unknown }>(
      'GetClusterLayoutHistory',
    )
    if (history.currentVersion !== this.#layoutVersion)
      return `${node.name} has layout ${history.currentVersion}`
    if (history.updateTrackers !== null) {
      return `${node.name} has live layouts ${JSON.stringify(history.updateTrackers).replace(/([0-9a-f]{4})[0-9a-f]{60}/g, '$1')}`
    }
    if (own.syncQueueLength !== 0) return `${node.name} has ${own.syncQueueLength} to do`
    const { partitions } = own
    if (partitions && partitions.compared < partitions.total) return `${node.name} compares`
    return ''
  }

  async createKey(): Promise<{ accessKeyId: string; secretAccessKey: string }> {
    const [node] = this.running()
    const key = await node!.admin<{ accessKeyId: string; secretAccessKey: string }>('CreateKey', {
      name: 'life',
      allow: { createBucket: true },
    })
    return { accessKeyId: key.accessKeyId, secretAccessKey: key.secretAccessKey }
  }

  async dispose(): Promise<void> {
    this.balancer.close()
    await Promise.all(this.running().map((node) => node.stop('SIGKILL')))
    rmSync(this.dir, { recursive: true, force: true })
  }
}

function hostNameOf(name: string): string {
  return `${name}.life.test`
}

/** Looks again and again until `look` says yes. @throws Error naming `what` after `timeoutMs` */
export async function until(
  timeoutMs: number,
  what: string | (() => string),
  look: () => Promise<boolean>,
  everyMs = 250,
): Promise<void> {
  const endMs = performance.now() + timeoutMs
  while (!(await look())) {
    if (performance.now() > endMs) {
      throw new Error(
        `waited ${timeoutMs / 1000} s in vain until ${typeof what === 'string' ? what : what()}`,
      )
    }
    await sleep(everyMs)
  }
}
