/** `carport doctor` on real nodes that are sick in several ways, and beside nodes that do not run. */
import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePorts } from '../bench/stores/server-process.js'
import { NodeProcess, ProcessCluster } from './support/processes.js'

let cluster: ProcessCluster
const configOf = (i: number) => join(cluster.dir, `n${i}.toml`)
const ids: string[] = []

interface Finding {
  severity: string
  check: string
  node: string | null
  message: string
  help: string
}

/** What doctor finds, asked with a configuration, and its exit status. */
async function doctor(i: number): Promise<{ status: number; findings: Finding[]; serverAnswers: boolean }> {
  try {
    return { status: 0, ...JSON.parse(await cluster.cli(i, 'doctor', '--json')) }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    expect(stderr).toMatch(/^carport: \d+ errors? and \d+ warnings? w/)
    return { status: code, ...JSON.parse(stdout) }
  }
}

/** What may be true of any machine that runs tests. */
const OF_THE_MACHINE = ['disk-slow', 'disk-nearly-full']

const checks = (findings: Finding[]) =>
  findings
    .filter(({ severity, check }) => severity !== 'info' && !OF_THE_MACHINE.includes(check))
    .map(({ check, node }) => [check, node])

beforeAll(async () => {
  cluster = await ProcessCluster.create(3, 3)
  for (const i of [0, 1, 2]) chmodSync(configOf(i), 0o600)
  await cluster.startAndLayOut()
  for (const i of [0, 1, 2]) ids.push((await cluster.cli(i, 'node', 'id', '-q')).trim().split('@')[0]!)
})
afterAll(() => cluster?.dispose())

test('a healthy cluster has no findings, and the exit status says so', async () => {
  // The layout must have reached every node.
  await expect
    .poll(async () => checks((await doctor(0)).findings), { timeout: 20_000, interval: 500 })
    .toEqual([])
  const { status, findings, serverAnswers } = await doctor(1)
  const isSick = findings.some(({ severity }) => severity !== 'info')
  expect({ status, serverAnswers }).toEqual({ status: isSick ? 1 : 0, serverAnswers: true })
  const text = await cluster.cli(1, 'doctor').catch((error: { stdout: string }) => error.stdout)
  expect(text).toMatch(/Looked at: .*\(3 of 3 nodes answered\)/)
})

test('top shows what every node does, as text and as data', async () => {
  expect(await cluster.cli(0, 'top', '--interval', '1s')).toMatch(
    /^carport top .* 3 of 3 nodes up {2}\d+\.\d requests\/s/,
  )
  const rows = JSON.parse(await cluster.cli(1, 'top', '--json', '--interval', '1s'))
  expect(rows.map(({ id }: { id: string }) => id).sort()).toEqual([...ids].sort())
  for (const row of rows) {
    expect(row).toMatchObject({
      isUp: true,
      error: null,
      requestsPerSecond: 0,
      roundTripMs: expect.any(Number),
    })
    expect(row.memoryBytes).toBeGreaterThan(1e7)
  }
})

test('the layout is exported, planned and applied as a file', async () => {
  const file = join(cluster.dir, 'layout.toml')
  const exported = await cluster.cli(0, 'layout', 'export')
  writeFileSync(file, exported)
  expect(await cluster.cli(1, 'layout', 'plan', '-f', file)).toBe(
    'The layout is as the file says: nothing changes.\n',
  )
  writeFileSync(file, exported.replaceAll('"10G"', '"12G"'))
  expect(await cluster.cli(1, 'layout', 'plan', '-f', file)).toMatch(
    /capacity 10\.0 GB → 12\.0 GB.*z3: survived/s,
  )
  await cluster.cli(1, 'layout', 'plan', '-f', file, '--apply', '--yes')
  expect(await cluster.cli(1, 'layout', 'export')).toBe(
    exported.replaceAll('"10G"', '"12G"').replace('version 1', 'version 2'),
  )
})

test('a configuration that others may read and a wiped data folder are found, on the node that has them', async () => {
  chmodSync(configOf(1), 0o644)
  rmSync(join(cluster.dir, 'n2/data'), { recursive: true })
  mkdirSync(join(cluster.dir, 'n2/data'), { mode: 0o700 })
  const { status, findings } = await doctor(0)
  expect(status).toBe(1)
  expect(checks(findings).sort()).toEqual([
    ['data-folder-lost', ids[2]],
    ['secret-readable', ids[1]],
  ])
  expect(findings.find(({ check }) => check === 'secret-readable')!.help).toBe(`chmod 600 ${configOf(1)}`)
  chmodSync(configOf(1), 0o600)
  await cluster.cli(2, 'repair', '--yes', 'blocks')
  await expect.poll(async () => checks((await doctor(0)).findings), { timeout: 20_000 }).toEqual([])
})

test('a copy of a machine that runs beside it is found as a second process with one key', async () => {
  const [rpc] = await freePorts(1)
  const folder = join(cluster.dir, 'copy')
  cpSync(join(cluster.dir, 'n2/meta/node_key.pem'), join(folder, 'meta/node_key.pem'))
  cpSync(join(cluster.dir, 'n2/meta/node_cert.pem'), join(folder, 'meta/node_cert.pem'))
  const text = readFileSync(configOf(2), 'utf8')
    .replaceAll(join(cluster.dir, 'n2/'), `${folder}/`)
    .replace(/\[s3_api\][\s\S]*/, '[s3_api]\ns3_region = "garage"\n')
    .replaceAll(/(rpc_\w+_addr = "127.0.0.1):\d+/g, `$1:${rpc}`)
  writeFileSync(join(folder, 'copy.toml'), text, { mode: 0o600 })
  const copy = new NodeProcess(
    ['server', '-c', join(folder, 'copy.toml')],
    { PATH: process.env.PATH },
    folder,
  )
  await copy.start()
  try {
    await cluster.cli(0, 'node', 'connect', `${ids[2]}@127.0.0.1:${rpc}`)
    const { findings } = await doctor(0)
    const found = findings.find(({ check }) => check === 'node-duplicated')
    expect(found).toMatchObject({ severity: 'error', node: ids[2] })
    expect(found!.message).toContain(`127.0.0.1:${rpc}`)
  } finally {
    await copy.stop('SIGKILL')
  }
})

test('a node that is down is found from the others; from beside it, why it cannot start', async () => {
  await cluster.nodes[1]!.stop()
  await expect
    .poll(async () => checks((await doctor(0)).findings), { timeout: 20_000 })
    .toContainEqual(['node-unreachable', ids[1]])
  expect(checks((await doctor(1)).findings)).toEqual([['server-stopped', null]])

  const port = Number(/rpc_bind_addr = "127.0.0.1:(\d+)"/.exec(readFileSync(configOf(1), 'utf8'))![1])
  const stranger = createServer().listen(port, '127.0.0.1')
  truncateSync(join(cluster.dir, 'n1/meta/db/data.mdb'), 20_000)
  chmodSync(join(cluster.dir, 'n1/meta/node_key.pem'), 0o644)
  const { status, findings, serverAnswers } = await doctor(1)
  stranger.close()
  expect({ status, serverAnswers }).toEqual({ status: 1, serverAnswers: false })
  expect(checks(findings)).toEqual([
    ['server-stopped', null],
    ['port-in-use', null],
    ['database-damaged', null],
    ['secret-readable', null],
  ])
})
