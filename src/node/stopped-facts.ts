import { existsSync, realpathSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { StoppedFacts } from '../api/admin/diagnosis/facts.js'
import type { Settings } from '../config/config.js'
import type { Env } from '../config/secrets.js'
import { formatListenAddress, type ListenAddress } from '../config/values.js'
import { checkLmdbFile } from '../db/lmdb-check.js'
import { realClock, systemRandom } from '../platform/clock-and-random.js'
import { folderHolder } from '../platform/folder-lock.js'
import { CarportError } from '../util/errors.js'
import { singleNodeSecrets } from './machine.js'
import { machineFacts, readTextFile } from './machine-facts.js'

/**
 * Looks at a node from outside, for when its server does not answer. Changes nothing, but writes and removes a small file in
 * each of its folders to measure their disks.
 * @param unreachable why the server could not be asked
 */
export async function stoppedFacts(settings: Settings, env: Env, unreachable: string): Promise<StoppedFacts> {
  const machine = await machineFacts({
    ...{ settings, env, clock: realClock, random: systemRandom, readText: readTextFile },
    ...(settings.configFile === null && { secretFiles: singleNodeSecrets(settings) }),
  })
  const folder = join(settings.metadataDir, 'db')
  const heldBy = await holderOf(settings)
  return {
    machine,
    unreachable,
    heldBy,
    configProblems: [],
    ports: heldBy === null ? await Promise.all(listeners(settings).map(portFact)) : [],
    databaseFault: databaseFault(folder),
    hasDatabase: existsSync(join(folder, 'data.mdb')),
  }
}

/** Who holds the node's folders, as "process 7 on host"; null if nobody does. */
export async function holderOf({ metadataDir }: Pick<Settings, 'metadataDir'>): Promise<string | null> {
  if (!existsSync(metadataDir)) return null
  return (await folderHolder(realpathSync(metadataDir))) ?? null
}

function databaseFault(folder: string): string | null {
  try {
    checkLmdbFile(folder)
    return null
  } catch (error) {
    if (error instanceof CarportError) return /\((.*?)\)/.exec(error.message)?.[1] ?? error.message
    return `it cannot be read: ${(error as NodeJS.ErrnoException).code}`
  }
}

function listeners({
  rpc,
  s3Api,
  k2vApi,
  web,
  admin,
  console,
}: Settings): { key: string; address: ListenAddress }[] {
  const all: [key: string, address: Readonly<ListenAddress> | null | undefined][] = [
    ['rpc_bind_addr', rpc.bindAddr],
    ['s3_api.api_bind_addr', s3Api.bindAddr],
    ['k2v_api.api_bind_addr', k2vApi?.bindAddr],
    ['s3_web.bind_addr', web?.bindAddr],
    ['admin.api_bind_addr', admin.bindAddr],
    ['console.bind_addr', console.bindAddr],
  ]
  return all.flatMap(([key, address]) => (address ? [{ key, address }] : []))
}

/** Tries to listen, and stops at once. */
async function portFact({
  key,
  address,
}: {
  key: string
  address: ListenAddress
}): Promise<StoppedFacts['ports'][number]> {
  const fact = { key, address: formatListenAddress(address), inUse: false, problem: null }
  // A socket's file is removed by the server that starts, unless somebody listens there.
  if (address.kind === 'unix') return fact
  const server = createServer()
  const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    server.once('error', resolve)
    server.listen({ host: address.host, port: address.port }, () => server.close(() => resolve(undefined)))
  })
  if (error === undefined) return fact
  return error.code === 'EADDRINUSE'
    ? { ...fact, inUse: true }
    : { ...fact, problem: String(error.code ?? error) }
}
