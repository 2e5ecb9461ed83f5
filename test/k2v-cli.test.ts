/**
 * Garage's own command line for K2V, as it is: `cargo install k2v-client --features cli` makes it. It is looked for in
 * PATH, or where CARPORT_K2V_CLI says; without it these tests are skipped.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'

const run = promisify(execFile)

const program =
  process.env.CARPORT_K2V_CLI ??
  (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'k2v-cli'))
    .find((path) => existsSync(path))

/** A value as its JSON output has it: with the causality token, concurrent ones together. */
interface Read {
  causality: string
  value: (string | null)[]
}

const b64 = (text: string) => Buffer.from(text).toString('base64')

describe.skipIf(program === undefined)("Garage's k2v-cli", () => {
  let node: TestNode
  let env: NodeJS.ProcessEnv

  beforeAll(async () => {
    node = await startTestNode({
      k2vApi: { bindAddr: { kind: 'tcp', host: '127.0.0.1', port: 0 }, publicEndpoint: null, tls: null },
    })
    const { keys, buckets } = node.core.model
    const bucket = await buckets.create('mail')
    const key = await keys.create('cli')
    await keys.setPermissions(key.id, bucket.id, { read: true, write: true, owner: false })
    env = {
      PATH: process.env.PATH,
      K2V_ENDPOINT: `http://127.0.0.1:${node.k2v!.port}`,
      AWS_ACCESS_KEY_ID: key.id,
      AWS_SECRET_ACCESS_KEY: key.secret,
      AWS_REGION: 'us-east-1',
      K2V_BUCKET: 'mail',
    }
  })

  afterAll(() => node?.dispose())

  const cli = async (...args: string[]): Promise<string> => (await run(program!, args, { env })).stdout
  const read = async (pk: string, sk: string) => JSON.parse(await cli('read', '--json', pk, sk)) as Read

  test('inserts, reads in all forms, supersedes and deletes', async () => {
    await cli('insert', '--text', 'hello', 'box', 'a')
    const first = await read('box', 'a')
    expect(first.value).toEqual([b64('hello')])
    expect(await cli('read', '--raw', 'box', 'a')).toBe('hello')
    expect((await cli('read', '--b64', 'box', 'a')).trim().split('\n')).toEqual([
      first.causality,
      b64('hello'),
    ])
    expect(await cli('read', '--human', 'box', 'a')).toContain('hello')

    await cli('insert', '--b64', b64('again'), '--causality', first.causality, 'box', 'a')
    const second = await read('box', 'a')
    expect(second.value).toEqual([b64('again')])
    await cli('insert', '--text', 'beside', '--causality', first.causality, 'box', 'a')
    const both = await read('box', 'a')
    expect(both.value).toEqual([b64('again'), b64('beside')])
    await cli('delete', '--causality', both.causality, 'box', 'a')
    expect((await read('box', 'a')).value).toEqual([null])
  })

  test('says that an item is not there', async () => {
    await expect(cli('read', 'box', 'nothing')).rejects.toMatchObject({
      stderr: expect.stringMatching(/not ?found/i),
    })
  })

  test('lists partition keys and ranges, and deletes ranges', async () => {
    for (const sk of ['1', '2', '30', '31']) await cli('insert', '--text', `v${sk}`, 'ranges/ü', sk)
    const index = JSON.parse(await cli('read-index', '--json', '--all')) as { partition_keys?: unknown }
    expect(JSON.stringify(index)).toContain('ranges/ü')
    expect(await cli('read-index', '--human', '--prefix', 'ranges')).toMatch(/ranges\/ü.*4/)
    const all = JSON.parse(await cli('read-range', '--json', '--all', 'ranges/ü')) as Record<string, unknown>
    expect(JSON.stringify(all)).toContain(b64('v31'))
    const some = await cli('read-range', '--human', '--prefix', '3', '--limit', '1', 'ranges/ü')
    expect(some).toContain('v30')
    expect(some).not.toContain('v31')
    expect(await cli('delete-range', '--prefix', '3', 'ranges/ü')).toContain('2')
    expect(await cli('read-range', '--human', '--all', 'ranges/ü')).not.toContain('v30')
    expect(await cli('read-range', '--human', '--all', '--tombstones', 'ranges/ü')).toContain('30')
  })

  test('polls an item, and a range', async () => {
    const { k2vPolls } = node.core.model
    await cli('insert', '--text', 'old', 'polled', 'a')
    const { causality } = await read('polled', 'a')
    const item = cli('poll-item', '--json', '--timeout', '30', '--causality', causality, 'polled', 'a')
    await expect.poll(() => k2vPolls.size, { timeout: 15_000 }).toBe(1)
    await cli('insert', '--text', 'new', '--causality', causality, 'polled', 'a')
    expect((JSON.parse(await item) as Read).value).toEqual([b64('new')])

    const first = JSON.parse(await cli('poll-range', '--json', '--all', 'polled')) as { seen_marker: string }
    const seen = ['--seen-marker', first.seen_marker]
    const range = cli('poll-range', '--json', '--all', '--timeout', '30', ...seen, 'polled')
    await expect.poll(() => k2vPolls.size, { timeout: 15_000 }).toBe(1)
    await cli('insert', '--text', 'more', 'polled', 'b')
    const news = await range
    expect(news).toContain(b64('more'))
    expect(news).not.toContain(b64('new'))
  })
})
