/**
 * What polls that wait cost a node: a thousand, or as many as CARPORT_TEST_POLLS says. The node's process tells the heap that
 * is in use after a collection, since all of its memory grows in leaps that a thousand polls do not even out.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { jsonOf, K2vTestClient } from './support/k2v-client.js'
import { NodeProcess, PROGRAM, singleNodeEnv } from './support/processes.js'
import { signedHead } from './support/signed-head.js'

const POLLS = Number(process.env.CARPORT_TEST_POLLS ?? 1000)
/** Polls before the first measurement: what is made once does not count. */
const WARM = 100
/** Fewer than the node serves at a time; those that wait already do not count. */
const AT_ONCE = 200
const HEAP_BYTES_MAX = 12_000
const BUCKET = 'items'
/** Tells the heap in use whenever the process gets SIGUSR2. */
const PROBE = `data:text/javascript,process.on('SIGUSR2',()=>{gc();console.log('HEAP='+process.memoryUsage().heapUsed+';')})`

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
    [PROGRAM[0], ...['--expose-gc', '--import', PROBE], ...PROGRAM.slice(1)],
  )
  await node.start()
}, 60_000)

afterAll(async () => {
  for (const socket of sockets) socket.destroy()
  await node?.stop('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})

async function heapBytes(): Promise<number> {
  const told = () => [...node.output.matchAll(/HEAP=(\d+);/g)].map(([, bytes]) => Number(bytes))
  const before = told().length
  process.kill(node.pid, 'SIGUSR2')
  await expect.poll(() => told().length, { timeout: 20_000 }).toBe(before + 1)
  return told().at(-1)!
}

/** Polls that wait, as the metrics tell. */
async function waiting(): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${adminPort}/metrics`)
  return Number(/^carport_k2v_polls (\d+)/m.exec(await answer.text())?.[1] ?? -1)
}

// An executable takes no options of Node.
test.skipIf(process.env.CARPORT_TEST_EXECUTABLE !== undefined || process.platform === 'win32')(
  `${POLLS} polls of different items hold less than ${HEAP_BYTES_MAX} bytes of the heap each, and all are told`,
  { timeout: 240_000 },
  async () => {
    const client = new K2vTestClient(key, port, BUCKET)
    const names = Array.from({ length: POLLS + WARM }, (_, i) => `${100_000 + i}`)
    const write = (text: string, tokens?: Map<string, string>) => {
      const v = Buffer.from(text).toString('base64')
      return client.post(
        '',
        names.map((sk) => ({ pk: 'p', sk, ct: tokens?.get(sk) ?? null, v })),
      )
    }
    expect((await write('old')).status).toBe(204)
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
    await open(0, WARM)
    const before = await heapBytes()
    await open(WARM, names.length)
    const each = ((await heapBytes()) - before) / POLLS
    console.log(`a poll that waits holds ${each.toFixed()} bytes of the heap`)
    expect(answered).toBe(0)
    expect(each).toBeLessThan(HEAP_BYTES_MAX)

    expect((await write('new', tokens)).status).toBe(204)
    await expect.poll(() => answered, { timeout: 60_000 }).toBe(names.length)
  },
)
