import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { RawS3 } from '../../bench/load/raw-s3.js'
import { type LifeCluster, until } from '../life/kit/life-cluster.js'
import type { LifeNode } from '../life/kit/life-node.js'
import type { AccessKey } from '../support/fill-store.js'

const MAIN = 'dist/src/cli/main.js'

/** A build of an earlier release, which TORTURE_EARLIER names; its nodes are reached by its own command line alone. */
export class EarlierRelease {
  readonly program: readonly [string, ...string[]]

  /** Why there is no earlier release to begin with; undefined if there is one. */
  static missing(): string | undefined {
    const dir = process.env.TORTURE_EARLIER
    if (!dir) return 'no build of an earlier release was named (--earlier DIR)'
    return existsSync(join(dir, MAIN)) ? undefined : `${dir} has no ${MAIN}: build the earlier release there`
  }

  constructor(dir = process.env.TORTURE_EARLIER!) {
    this.program = [process.execPath, join(resolve(dir), MAIN)]
  }

  /** Gives the nodes their roles. Resolves with a key that may create buckets, when one was made. */
  async layOut(cluster: LifeCluster, nodes: readonly LifeNode[]): Promise<AccessKey> {
    await cluster.layOutByCommands(nodes)
    const [on] = nodes as [LifeNode, ...LifeNode[]]
    const key = JSON.parse(await patiently(cluster, on, ['key', 'create', 'torture', '--json'])) as AccessKey
    await patiently(cluster, on, ['key', 'allow', '--create-bucket', key.accessKeyId])
    return { accessKeyId: key.accessKeyId, secretAccessKey: key.secretAccessKey }
  }
}

/**
 * Runs a command until it succeeds, if the node runs an earlier release: the first one fails at times after it has done what it was told, since it
 * reads its own copy, which may be the last to have the change. Resolves with its output.
 */
export async function patiently(
  cluster: LifeCluster,
  node: LifeNode,
  args: readonly string[],
): Promise<string> {
  if (!node.settings.program) return cluster.cli(node, ...args)
  let output: string | undefined
  let failure = ''
  await until(
    30_000,
    () => `${args.slice(0, 2).join(' ')} succeeds: ${failure}`,
    async () => {
      try {
        output = await cluster.cli(node, ...args)
      } catch (error) {
        failure = (error as Error).message
        if (/exists already/.test(failure)) output = ''
      }
      return output !== undefined
    },
  )
  return output!
}

/** Whether a node serves K2V, which came after the first release. */
export async function hasK2v(node: LifeNode, key: AccessKey): Promise<boolean> {
  const k2v = k2vClient(node, key)
  try {
    await k2v.request('GET', '/torture', { timeoutMs: 10_000 })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') return false
    throw error
  } finally {
    k2v.close()
  }
}

export function k2vClient(node: LifeNode, key: AccessKey): RawS3 {
  const { host, k2vPort } = node.settings
  return new RawS3({ endpoint: `http://${host}:${k2vPort}`, region: 'garage', ...key }, 1, 'k2v')
}
