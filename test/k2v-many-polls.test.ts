/**
 * What polls that wait cost a node: two thousand, or as many as CARPORT_TEST_POLLS says. The node's process tells the heap that
 * is in use after a collection, and all of its memory, which grows in leaps that two thousand polls do not even out: it is bounded
 * loosely. Of ten thousand or more it is bounded by 100 MiB, on a node that has served other requests before, and shown beside what the
 * same requests cost a plain server of node:http: what V8 takes for short-lived objects under any load is not the polls'.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RawS3 } from '../bench/load/raw-s3.js'
import { eachLimited } from '../src/util/limited.js'
import { jsonOf, K2vTestClient } from './support/k2v-client.js'
import { NodeProcess, PROGRAM, singleNodeEnv } from './support/processes.js'
import { signedHead } from './support/signed-head.js'

const POLLS = Number(process.env.CARPORT_TEST_POLLS ?? 2000)
/** Of these, polls before the first measurement: what is made once does not count. */
const WARM = 100
/** Fewer than the node serves at a time; those that wait already do not count. */
const AT_ONCE = 200
/** Items in one InsertBatch. */
const BATCH = 5000
/** Of each poll, in the heap and in all memory. */
const HEAP_BYTES_MAX = 8_000
const ALL_BYTES_MAX = 24_000
/** Of ten thousand. */
const MANY_BYTES_MAX = 100 << 20
const BUCKET = 'items'
/** From so many polls on, all of the process's memory says something, and is compared with that of a server that does nothing. */
const MANY = 10_000
const SERVED_BEFORE = 40_000
/** Of fewer, what V8 takes for objects that soon die would hide what stays. */
const YOUNG = POLLS < MANY ? ['--max-semi-space-size=1'] : []
/** Tells the heap in use, and all of the memory, whenever the process gets SIGUSR2. V8 gives pages back some time after a collection. */
const PROBE = `data:text/javascript,process.on('SIGUSR2',()=>{gc();setTimeout(()=>{gc();const{heapUsed}=process.memoryUsage();setTimeout(()=>console.log('HEAP='+heapUsed+',RSS='+process.memoryUsage.rss()+';'),1000)},1000)})`

const key = { id: `GK${'0c'.repeat(12)}`, secret: '1d'.repeat(32) }
const dir = mkdtempSync(join(tmpdir(), 'carport-polls-'))
const sockets: Socket[] = []
let node: NodeProcess
let port: number
let adminPort: number

beforeAll(async () => {
  const credentials = { accessKeyId: key.id, secretAccessKey: key.secret }
  const { env, ports } = await singleNodeEnv({ credentials, bucket: BUCKET }, true)
  port = ports.k2v
  adminPort = ports.admin
  node = new NodeProcess(
    ['server', '--single-node', '--default-bucket'],
    { ...env, CARPORT_DATA_DIR: dir },
    dir,
    [PROGRAM[0], '--expose-gc', ...YOUNG, '--import', PROBE, ...PROGRAM.slice(1)],
  )
  await node.start()
}, 60_000)

afterAll(async () => {
  for (const socket of sockets) socket.destroy()
  await node?.stop('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})

interface Memory {
  heap: number
  all: number
}

async function memory(of: NodeProcess): Promise<Memory> {
  const told = () =>
    [...of.output.matchAll(/HEAP=(\d+),RSS=(\d+);/g)].map(([, heap, all]) => {
      return { heap: Number(heap), all: Number(all) }
    })
  const before = told().length
  process.kill(of.pid, 'SIGUSR2')
  await expect.poll(() => told().length, { timeout: 20_000 }).toBe(before + 1)
  return told().at(-1)!
}

/** What each of the others has taken. */
function perPoll(before: Memory, after: Memory): Memory {
  return { heap: (after.heap - before.heap) / (POLLS - WARM), all: (after.all - before.all) / (POLLS - WARM) }
}

/** Requests of which nothing is left afterwards. */
async function serve(count: number, at: number, query: string): Promise<void> {
  const target = { endpoint: `http://127.0.0.1:${at}`, region: 'us-east-1' }
  const client = new RawS3({ ...target, accessKeyId: key.id, secretAccessKey: key.secret }, 32, 'k2v')
  await eachLimited(Array.from({ length: count }), 32, () => client.request('GET', `/${BUCKET}/p`, { query }))
  client.close()
}

/** What such a request costs a server of node:http that does nothing with it, made with the options of ours. */
async function costOfPlainServer(): Promise<Memory> {
  const front = pathToFileURL(join(import.meta.dirname, '../dist/src/api/http/front.js'))
  const code = `import { createServer } from 'node:http'
import { HTTP_SERVER_OPTIONS } from '${front}'
let waiting = 0
const server = createServer(HTTP_SERVER_OPTIONS, (request, response) => {
  if (request.url.includes('causality_token')) waiting++
  else response.end(String(waiting))
}).listen(0, '127.0.0.1', () => console.log('ready rpc= port=' + server.address().port + ';'))`
  const options = ['--expose-gc', '--import', PROBE, '--input-type=module', '-e', code]
  const plain = new NodeProcess([], { PATH: process.env.PATH }, dir, [process.execPath, ...options])
  try {
    await plain.start()
    const at = Number(/port=(\d+);/.exec(plain.output)![1])
    await serve(SERVED_BEFORE, at, 'sort_key=100000')
    const count = async () => Number(await (await fetch(`http://127.0.0.1:${at}/`)).text())
    const open = async (from: number, to: number) => {
      for (let next = from; next < to; next += AT_ONCE) {
        const end = Math.min(to, next + AT_ONCE)
        for (let i = next; i < end; i++) {
          const socket = connect(at, '127.0.0.1')
          sockets.push(socket)
          socket.on('error', () => {})
          const target = `/${BUCKET}/p?sort_key=${100_000 + i}&causality_token=${'A'.repeat(32)}&timeout=600`
          socket.write(signedHead({ key, port: at, nowMs: Date.now(), service: 'k2v' }, 'GET', target))
        }
        await expect.poll(count, { timeout: 60_000 }).toBe(end)
      }
    }
    await open(0, WARM)
    const before = await memory(plain)
    await open(WARM, POLLS)
    return perPoll(before, await memory(plain))
  } finally {
    await plain.stop('SIGKILL')
  }
}

/** Polls that wait, as the metrics tell. */
async function waiting(): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${adminPort}/metrics`)
  return Number(/^carport_k2v_polls (\d+)/m.exec(await answer.text())?.[1] ?? -1)
}

// An executable takes no options of Node.
test.skipIf(process.env.CARPORT_TEST_EXECUTABLE !== undefined || process.platform === 'win32')(
  `${POLLS} polls of different items take a node ${HEAP_BYTES_MAX} bytes of heap each at the most, and all are told`,
  { timeout: 240_000 },
  async () => {
    const client = new K2vTestClient(key, port, BUCKET)
    const names = Array.from({ length: POLLS }, (_, i) => `${100_000 + i}`)
    const write = async (text: string, tokens?: Map<string, string>) => {
      const v = Buffer.from(text).toString('base64')
      const items = names.map((sk) => ({ pk: 'p', sk, ct: tokens?.get(sk) ?? null, v }))
      for (let at = 0; at < items.length; at += BATCH) {
        expect((await client.post('', items.slice(at, at + BATCH))).status).toBe(204)
      }
    }
    await write('old')
    const tokens = new Map<string, string>()
    for (let start: string | null = '1'; start !== null; ) {
      const answer = await client.post('?search', [{ partitionKey: 'p', start, limit: 5000 }])
      type Page = { items: { sk: string; ct: string }[]; nextStart: string | null }
      const page: Page = jsonOf<[Page]>(answer)[0]
      for (const { sk, ct } of page.items) tokens.set(sk, ct)
      start = page.nextStart
    }
    expect(tokens.size).toBe(names.length)

    let answered = 0
    const open = async (from: number, to: number) => {
      for (let at = from; at < to; at += AT_ONCE) {
        const end = Math.min(to, at + AT_ONCE)
        for (const sk of names.slice(at, end)) {
          const socket = connect(port, '127.0.0.1')
          sockets.push(socket)
          socket.on('error', () => {})
          socket.on('data', (data) => {
            if (data.toString('latin1').startsWith('HTTP/1.1 200')) answered++
          })
          const target = client.item('p', sk, `&causality_token=${tokens.get(sk)}&timeout=600`)
          socket.write(signedHead({ key, port, nowMs: Date.now(), service: 'k2v' }, 'GET', target))
        }
        await expect.poll(waiting, { timeout: 60_000 }).toBe(end)
      }
    }
    if (POLLS >= MANY) await serve(SERVED_BEFORE, port, 'sort_key=100000')
    await open(0, WARM)
    const before = await memory(node)
    await open(WARM, names.length)
    const { heap, all } = perPoll(before, await memory(node))
    console.log(`a poll that waits holds ${heap.toFixed()} bytes of the heap, ${all.toFixed()} of all memory`)
    expect(answered).toBe(0)
    expect(heap).toBeLessThan(HEAP_BYTES_MAX)
    expect(all).toBeLessThan(POLLS < MANY ? ALL_BYTES_MAX : MANY_BYTES_MAX / 10_000)

    await write('new', tokens)
    await expect.poll(() => answered, { timeout: 60_000 }).toBe(names.length)
    if (POLLS < MANY) return
    // This process has no descriptors for twice as many.
    for (const socket of sockets.splice(0)) socket.destroy()
    const plain = await costOfPlainServer()
    console.log(`a plain server: ${plain.heap.toFixed()} of the heap, ${plain.all.toFixed()} of all memory`)
  },
)
