import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { freePorts } from '../bench/stores/server-process.js'
import { NodeProcess, PROGRAM, singleNodeEnv } from './support/processes.js'

// The tour of docs/cli.md, typed into a shell as it stands there, and what else needs the program itself.

const [COMMAND, ...FIRST] = PROGRAM
const dir = mkdtempSync(join(tmpdir(), 'carport-tour-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** A shell that hangs ends in time for its output to be seen. */
const SHELL_SECONDS_MAX = 150

/** The commands of the page's tour, below a heading that begins so. */
function commandsBelow(heading: string): string {
  const page = readFileSync(join(import.meta.dirname, '../docs/cli.md'), 'utf8')
  const section = page.split(/^## /m).find((text) => text.startsWith(heading))!
  return [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block!).join('')
}

/** Runs commands in bash, where `carport` is the compiled program; resolves with what they print. */
async function inShell(commands: string): Promise<{ status: number | null; output: string }> {
  const bin = join(dir, 'bin')
  mkdirSync(bin, { recursive: true })
  writeFileSync(join(bin, 'carport'), `#!/bin/sh\nexec ${PROGRAM.join(' ')} "$@"\n`)
  chmodSync(join(bin, 'carport'), 0o755)
  // Servers that are left after a failure end with the shell.
  const script = `set -euo pipefail\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n${commands}`
  const shell = spawn('timeout', [String(SHELL_SECONDS_MAX), 'bash', '-c', script], {
    cwd: dir,
    env: { PATH: `${bin}:${process.env.PATH}`, HOME: dir },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  const status = await new Promise<number | null>((resolve) => shell.on('close', resolve))
  return { status, output }
}

/** With other ports than those of the page, in a folder of the test's own; without the AWS tools, which may be missing. */
async function elsewhere(commands: string): Promise<string> {
  const ports = await freePorts(7)
  return ['3900', '3901', '3902', '3903', '391$n']
    .reduce(
      (text, port, i) => text.replaceAll(`:${port}`, `:${i < 4 ? ports[i] : `\${PORTS[$n]}`}`),
      commands,
    )
    .replaceAll('/tmp/carport-tour', join(dir, 'tour'))
    .replace(/^/, `PORTS=(0 ${ports.slice(4).join(' ')})\n`)
    .replace(/^aws .*$/gm, '')
}

test("Garage's quick start and its chapter on layouts work as the page types them", async () => {
  const first = await elsewhere(commandsBelow('Tour: the first node'))
  const three = await elsewhere(commandsBelow('Tour: a layout of three nodes'))
  expect(first).toContain('carport offline-repair')
  expect(three).toContain('carport worker watch')
  const { status, output } = await inShell(`${first}\necho ==== THREE ====\n${three}`)
  expect(status, output).toBe(0)
  const [one, many] = output.split('==== THREE ====') as [string, string]
  expect(one).toMatch(/Cluster health: +HEALTHY/)
  expect(one).toMatch(/RWO +GK[0-9a-f]{24} +photos-app/)
  expect(one).toContain('All counters were right.')
  expect(readFileSync(join(dir, 'tour/awsrc'), 'utf8')).toMatch(
    /^AWS_ACCESS_KEY_ID=GK.*\nAWS_SECRET_ACCESS_KEY=[0-9a-f]{64}\nAWS_DEFAULT_REGION=garage\nAWS_ENDPOINT_URL=http:\/\/127/,
  )
  expect(readFileSync(join(dir, 'tour/status.txt'), 'utf8')).toContain('NO ROLE ASSIGNED')
  expect(many).toMatch(/Cluster health: +HEALTHY\nKnown nodes: +3\n/)
  expect(many).toMatch(/node3,spare/)
  expect(many).toMatch(/#1 +current/)
  expect(many).toContain('They cannot be applied: replication factor 3 needs at least 3 nodes')
  expect(many).toContain('Layout version 2 is applied')
  expect(many).toContain('sync: done: in sync')
}, 180_000)

test('a single node makes the key that the environment names, without a bucket', async () => {
  const single = await singleNodeEnv()
  const env = {
    ...single.env,
    GARAGE_DEFAULT_ACCESS_KEY: `GK${'5'.repeat(24)}`,
    GARAGE_DEFAULT_SECRET_KEY: '6'.repeat(64),
    CARPORT_DATA_DIR: join(dir, 'single'),
  }
  const node = new NodeProcess(['server', '--single-node', '--default-access-key'], env, dir)
  await node.start()
  try {
    expect(node.output).toContain(`access key  GK${'5'.repeat(24)}`)
    const ran = (...args: string[]) => spawnSync(COMMAND, [...FIRST, ...args], { env, encoding: 'utf8' })
    expect(ran('key', 'info', 'GK555', '--secret-key').stdout).toBe(`${'6'.repeat(64)}\n`)
    expect(JSON.parse(ran('bucket', 'list', '--json').stdout)).toEqual([])
    // Its folder is in use: nothing may be repaired behind its back.
    const refused = ran('offline-repair', '--yes', 'object_counters')
    expect(refused.status).toBe(1)
    expect(refused.stderr).toMatch(/^carport: [^\n]+\n$/)
    const piped = spawnSync(COMMAND, [...FIRST, 'json-api', 'GetKeyInfo', '-'], {
      ...{ env, encoding: 'utf8', input: '{"search":"GK5"}' },
    })
    expect(JSON.parse(piped.stdout)).toMatchObject({ accessKeyId: `GK${'5'.repeat(24)}` })
    const usage = ran('key', 'list', '--jsno')
    expect({ status: usage.status, out: usage.stdout }).toEqual({ status: 2, out: '' })
  } finally {
    await node.stop()
  }
}, 60_000)
