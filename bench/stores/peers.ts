import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { withChildren } from '../proc.js'
import { startCluster } from './cluster.js'
import { ACCESS_KEY, METRICS_TOKEN, targetOf } from './cluster-config.js'
import { freePorts, ServerProcess } from './server-process.js'
import type { Contender, Store } from './store.js'

/**
 * The peers whose programs, named `garage` and `minio`, are in a folder.
 * @throws Error if there is neither
 */
export function peersIn(folder: string): Contender[] {
  const found = Object.entries({ garage, minio }).flatMap(([name, contender]) => {
    const program = resolve(folder, name)
    return existsSync(program) ? [contender(program)] : []
  })
  if (found.length === 0) throw new Error(`--peers: neither "garage" nor "minio" is in ${folder}`)
  return found
}

/** Garage with its default settings: LMDB, fsync off. */
function garage(program: string): Contender {
  const kind = {
    name: 'garage',
    command: [program],
    fsync: false,
    extra: 'db_engine = "lmdb"',
    env: { RUST_LOG: 'garage=warn' },
    backlog: garageBacklog,
  }
  return {
    name: kind.name,
    start: (dir) => startCluster(dir, { nodes: 1, zones: 1, replicationFactor: 1 }, kind),
    startCluster: (dir, spec) => startCluster(dir, spec, kind),
  }
}

/** Counts rows that some node lacks and blocks that wait to be fetched, from the metrics of all nodes. */
async function garageBacklog({ adminPorts }: { adminPorts: readonly number[] }): Promise<number> {
  const rows: number[] = []
  let waiting = 0
  for (const port of adminPorts) {
    const response = await fetch(`http://127.0.0.1:${port}/metrics`, {
      headers: { authorization: `Bearer ${METRICS_TOKEN}` },
    })
    const text = await response.text()
    const metric = (pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? Number.NaN)
    rows.push(metric(/^table_size\{table_name="object"\} (\d+)/m))
    waiting += metric(/^block_resync_queue_length (\d+)/m)
    for (const [, length] of text.matchAll(
      /^table_(?:merkle_updater_todo|insert)_queue_length\{[^}]*\} (\d+)/gm,
    ))
      waiting += Number(length)
  }
  return waiting + rows.reduce((sum, n) => sum + Math.max(...rows) - n, 0)
}

/** MinIO with one drive. */
function minio(program: string): Contender {
  return { name: 'minio', start: (dir) => startMinio(program, dir) }
}

async function startMinio(program: string, dir: string): Promise<Store> {
  const data = join(dir, 'data')
  mkdirSync(data, { recursive: true })
  const [port, consolePort] = await freePorts(2)
  const server = new ServerProcess(
    [
      ...[program, 'server', data, '--quiet'],
      ...['--address', `127.0.0.1:${port}`, '--console-address', `127.0.0.1:${consolePort}`],
    ],
    {
      HOME: dir,
      MINIO_ROOT_USER: ACCESS_KEY.id,
      MINIO_ROOT_PASSWORD: ACCESS_KEY.secret,
      MINIO_BROWSER: 'off',
      MINIO_UPDATE: 'off',
    },
    join(dir, 'log'),
  )
  const target = targetOf(`http://127.0.0.1:${port}`)
  server.start()
  await server.untilServing(target)
  return {
    name: 'minio',
    target,
    pids: () => (server.pid === undefined ? [] : withChildren([server.pid])),
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
