/**
 * A node keeps its memory whatever its clients do: hundreds that do not read what they asked for, thousands that upload and
 * stall. Meanwhile it serves others.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RawClient } from '../testing/s3-front.js'
import { NodeProcess, singleNodeEnv } from './support/processes.js'
import { signedHead } from './support/signed-head.js'

const MIB = 1024 * 1024
const OBJECT_BYTES = 16 * MIB
const MORE_MIB_MAX = 200
const BUCKET = 'overload'

const key = { id: `GK${'0c'.repeat(12)}`, secret: '1d'.repeat(32) }
const dir = mkdtempSync(join(tmpdir(), 'carport-overload-'))
let node: NodeProcess
let port: number
const sockets: Socket[] = []

const head = (method: string, target: string, headers: Record<string, string> = {}) =>
  signedHead({ key, port, nowMs: Date.now() }, method, `/${BUCKET}/${target}`, headers)

function memoryMib(): number {
  const status = readFileSync(`/proc/${node.pid}/status`, 'latin1')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) / 1024
}

/** The most memory in MiB until `isOver`, and at least for the given time. */
async function mostMemoryMib(leastMs: number, isOver: () => boolean): Promise<number> {
  let most = 0
  for (const end = Date.now() + leastMs; Date.now() < end || !isOver(); ) {
    most = Math.max(most, memoryMib())
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return most
}

function open(): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  sockets.push(socket)
  return socket
}

/** Puts and gets a small object; resolves with the status lines. */
async function smallRequests(): Promise<string[]> {
  const answers: string[] = []
  for (const request of [`${head('PUT', 'small', { 'content-length': '5' })}hello`, head('GET', 'small')]) {
    const client = new RawClient(port)
    answers.push((await client.send(request).untilText('\r\n\r\n')).split('\r\n', 1)[0]!)
    client.socket.destroy()
  }
  return answers
}

beforeAll(async () => {
  const credentials = { accessKeyId: key.id, secretAccessKey: key.secret }
  const { env, ports } = await singleNodeEnv({ credentials, bucket: BUCKET })
  port = ports.s3
  node = new NodeProcess(
    ['server', '--single-node', '--default-bucket'],
    { ...env, CARPORT_DATA_DIR: dir },
    dir,
  )
  await node.start()
  const body = Buffer.alloc(OBJECT_BYTES)
  for (let at = 0; at < body.length; at += 4) body.writeUInt32LE((at * 2654435761) >>> 0, at)
  const client = new RawClient(port)
  client.send(head('PUT', 'large', { 'content-length': String(OBJECT_BYTES) })).send(body)
  expect(await client.untilText('\r\n\r\n')).toMatch(/^HTTP\/1.1 200 /)
  client.socket.destroy()
  expect(await smallRequests()).toEqual(['HTTP/1.1 200 OK', 'HTTP/1.1 200 OK'])
}, 60_000)

afterAll(async () => {
  for (const socket of sockets) socket.destroy()
  await node?.stop('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})

describe.runIf(existsSync('/proc/self/status'))('a node', { timeout: 60_000 }, () => {
  test('with 300 clients that do not read what they asked for', async () => {
    const before = memoryMib()
    let answered = 0
    for (let i = 0; i < 300; i++) {
      const socket = open()
      // The answer has begun; nothing more is read.
      socket.once('data', () => {
        answered++
        socket.pause()
      })
      socket.write(head('GET', 'large'))
    }
    const more = (await mostMemoryMib(4_000, () => answered === 300)) - before
    console.log(`300 clients that do not read: ${more.toFixed()} MiB more`)
    expect(await smallRequests()).toEqual(['HTTP/1.1 200 OK', 'HTTP/1.1 200 OK'])
    expect(more).toBeLessThan(MORE_MIB_MAX)
    for (const socket of sockets.splice(0)) socket.destroy()
  })

  test('with 2000 clients that upload and stall', async () => {
    const before = memoryMib()
    const piece = Buffer.alloc(512 * 1024, 'u')
    const refused: string[] = []
    let ended = 0
    for (let i = 0; i < 2000; i++) {
      const socket = open()
      socket.once('data', (answer) => refused.push(answer.toString('latin1').split('\r\n', 1)[0]!))
      socket.once('close', () => ended++)
      socket.write(head('PUT', `upload${i}`, { 'content-length': String(OBJECT_BYTES) }))
      socket.write(piece)
    }
    const more = (await mostMemoryMib(4_000, () => refused.length + ended >= 1200)) - before
    console.log(`2000 clients that upload: ${more.toFixed()} MiB more, ${refused.length} refused`)
    expect(await smallRequests()).toEqual(['HTTP/1.1 200 OK', 'HTTP/1.1 200 OK'])
    expect(new Set(refused)).toEqual(new Set(['HTTP/1.1 503 Service Unavailable']))
    expect(more).toBeLessThan(MORE_MIB_MAX)
  })
})
