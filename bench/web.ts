/**
 * A 4 KiB page of a web site: GETs per second by wrk, and the server's time on the processor for each, of Carport, of nginx
 * serving the same bytes from a file, and of Garage if its program is given. The servers take turns, so that a machine
 * that becomes slower does so for all. Usage: node dist/bench/web.js [--garage PROGRAM] [--seconds N] [--rounds N]
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { RawS3 } from './load/raw-s3.js'
import { cpuUs, withChildren } from './proc.js'
import { startCluster } from './stores/cluster.js'
import { ACCESS_KEY } from './stores/cluster-config.js'
import { freePorts, output, ServerProcess } from './stores/server-process.js'

const PROGRAM = join(import.meta.dirname, '../src/cli/main.js')
const PAGE_BYTES = 4096
const BUCKET = 'site'
const ROOT = 'web.localhost'
/** Connections at the same time, each with one request under way. */
const CONNECTIONS = [1, 32]

interface Server {
  name: string
  port: number
  pids(): number[]
  stop(): Promise<void>
}

interface Figure {
  perSecond: number
  cpuUs: number
}

/** Carport or Garage on one node, with the page as a site. */
async function startStore(name: string, command: string[], dir: string, page: Buffer): Promise<Server> {
  const [port] = (await freePorts(1)) as [number]
  const extra = [
    `s3_web = { bind_addr = "127.0.0.1:${port}", root_domain = ".${ROOT}"${name === 'garage' ? ', index = "index.html"' : ''} }`,
    ...(name === 'garage' ? ['db_engine = "lmdb"'] : []),
  ].join('\n')
  const spec = { nodes: 1, zones: 1, replicationFactor: 1 }
  const env = name === 'garage' ? { RUST_LOG: 'garage=warn' } : {}
  const backlog = async () => 0
  const store = await startCluster(dir, spec, {
    name,
    command,
    fsync: name !== 'garage',
    extra,
    env,
    backlog,
  })
  // By the command line: what Garage makes over S3 is a name of the key's own, which is no site's.
  await store.cli('bucket', 'create', BUCKET)
  const rights = ['--read', '--write', '--owner']
  await store.cli('bucket', 'allow', ...rights, BUCKET, '--key', ACCESS_KEY.id)
  await store.cli('bucket', 'website', '--allow', BUCKET)
  const s3 = new RawS3(store.target, 1)
  await s3.request('PUT', `/${BUCKET}/page.html`, { body: page, headers: { 'content-type': 'text/html' } })
  s3.close()
  return { name, port, pids: () => store.pids(), stop: () => store.stop() }
}

async function startNginx(dir: string, page: Buffer): Promise<Server> {
  const [port] = (await freePorts(1)) as [number]
  mkdirSync(join(dir, 'html'), { recursive: true })
  writeFileSync(join(dir, 'html/page.html'), page)
  const config = join(dir, 'nginx.conf')
  writeFileSync(
    config,
    // As the user that made the folder, which others cannot read.
    `user ${userInfo().username}; daemon off; worker_processes 1; pid ${dir}/pid; error_log stderr;
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
  types { text/html html; }
  open_file_cache max=100;
  client_body_temp_path ${dir}/t1; proxy_temp_path ${dir}/t2; fastcgi_temp_path ${dir}/t3;
  uwsgi_temp_path ${dir}/t4; scgi_temp_path ${dir}/t5;
  server { listen 127.0.0.1:${port}; root ${dir}/html; }
}
`,
  )
  const server = new ServerProcess(['nginx', '-c', config, '-p', dir], {}, join(dir, 'log'))
  server.start()
  await server.untilAnswering(`http://127.0.0.1:${port}/page.html`)
  return {
    name: 'nginx',
    port,
    pids: () => (server.pid === undefined ? [] : withChildren([server.pid])),
    stop: () => server.stop(),
  }
}

/** One run of wrk. @throws Error where an answer was no 200 */
async function measure(server: Server, connections: number, seconds: number): Promise<Figure> {
  const before = cpuUs(server.pids())
  const text = await output([
    ...['wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '-H', `Host: ${BUCKET}.${ROOT}`],
    `http://127.0.0.1:${server.port}/page.html`,
  ])
  const used = cpuUs(server.pids()) - before
  const count = Number(/(\d+) requests in/.exec(text)?.[1])
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1])
  if (/Non-2xx|Socket errors/.test(text) || !(count > 0)) throw new Error(`${server.name}: ${text}`)
  return { perSecond, cpuUs: used / count }
}

function median(numbers: number[]): number {
  return numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!
}

async function bench(garage: string | undefined, seconds: number, rounds: number): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'carport-web-'))
  const page = Buffer.from(randomBytes(PAGE_BYTES / 2).toString('hex'))
  const servers: Server[] = []
  try {
    servers.push(await startStore('carport', [process.execPath, PROGRAM], join(dir, 'carport'), page))
    servers.push(await startNginx(join(dir, 'nginx'), page))
    if (garage !== undefined) servers.push(await startStore('garage', [garage], join(dir, 'garage'), page))
    for (const { name, port } of servers) await checkPage(name, port, page)
    process.stdout.write('| Connections | Server | Pages/s | CPU µs a page |\n|---|---|---|---|\n')
    for (const connections of CONNECTIONS) {
      const figures = new Map<Server, Figure[]>(servers.map((server) => [server, []]))
      // The first second of each is a warm-up.
      for (const server of servers) await measure(server, connections, 1)
      for (let round = 0; round < rounds; round++) {
        for (const server of servers) figures.get(server)!.push(await measure(server, connections, seconds))
      }
      for (const [{ name }, found] of figures) {
        const rate = median(found.map(({ perSecond }) => perSecond)).toFixed()
        const cpu = median(found.map((figure) => figure.cpuUs)).toFixed(1)
        process.stdout.write(`| ${connections} | ${name} | ${rate} | ${cpu} |\n`)
      }
    }
  } finally {
    for (const server of servers) await server.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

/** @throws Error unless the server answers with those bytes: else it would be something else that is measured */
async function checkPage(name: string, port: number, page: Buffer): Promise<void> {
  const headers = ['-H', `Host: ${BUCKET}.${ROOT}`]
  const body = await output(['curl', '-s', ...headers, `http://127.0.0.1:${port}/page.html`])
  if (body !== page.toString()) throw new Error(`${name} does not serve the page: ${body.slice(0, 300)}`)
}

const { values } = parseArgs({
  options: { garage: { type: 'string' }, seconds: { type: 'string' }, rounds: { type: 'string' } },
})
try {
  await bench(values.garage, Number(values.seconds ?? 5), Number(values.rounds ?? 3))
} catch (error) {
  process.exitCode = 1
  process.stderr.write(`bench/web: ${error instanceof Error ? error.message : error}\n`)
}
