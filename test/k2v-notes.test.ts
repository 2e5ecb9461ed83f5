/** The example of docs/k2v-client.md in Chromium: notes that two tabs edit without a connection, and merge. */
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'
import { PutBucketCorsCommand } from '@aws-sdk/client-s3'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
const ROOT = join(import.meta.dirname, '..')
const TYPES: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript' }
const TIMEOUT_MS = 120_000

if (!CHROMIUM) console.log('The example of notes is not tested: there is no Chromium (apt install chromium).')

describe.runIf(CHROMIUM)('notes in two tabs', { timeout: TIMEOUT_MS }, () => {
  let node: TestNode
  let server: Server
  let browser: Browser
  let tabs: Page[]
  const complaints: string[] = []

  beforeAll(async () => {
    node = await startTestNode({
      k2vApi: { bindAddr: { kind: 'tcp', host: '127.0.0.1', port: 0 }, publicEndpoint: null, tls: null },
    })
    const { keys, buckets } = node.core.model
    const bucket = await buckets.create('notes')
    const key = await node.createKey('notes')
    await keys.setPermissions(key.id, bucket.id, { read: true, write: true, owner: true })
    server = createServer(({ url = '/' }, response) => {
      const name = url === '/' ? 'index.html' : url.slice(1)
      const path = join(ROOT, name === 'k2v.js' ? 'dist/client' : 'examples/notes', name)
      if (!existsSync(path)) response.writeHead(404).end()
      else response.writeHead(200, { 'content-type': TYPES[extname(name)] }).end(readFileSync(path))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const rule = {
      AllowedOrigins: [origin],
      AllowedMethods: ['GET', 'PUT', 'POST', 'DELETE'],
      AllowedHeaders: ['*'],
      ExposeHeaders: ['X-Garage-Causality-Token', 'Retry-After'],
    }
    await node
      .client(key)
      .send(new PutBucketCorsCommand({ Bucket: 'notes', CORSConfiguration: { CORSRules: [rule] } }))
    browser = await chromium.launch({
      executablePath: CHROMIUM!,
      args: ['--no-sandbox', '--disable-dev-shm-usage'],
    })
    tabs = await Promise.all(
      ['one', 'two'].map(async () => {
        const page = await (await browser.newContext()).newPage()
        page.setDefaultTimeout(60_000)
        page.on('pageerror', (error) => complaints.push(error.message))
        await page.goto(origin)
        await page.getByLabel('K2V address').fill(`http://127.0.0.1:${node.k2v!.port}`)
        await page.getByLabel('Access key ID').fill(key.id)
        await page.getByLabel('Secret key').fill(key.secret)
        await page.getByRole('button', { name: 'Open' }).click()
        return page
      }),
    )
  }, TIMEOUT_MS)

  afterAll(async () => {
    await browser?.close()
    server?.closeAllConnections()
    server?.close()
    await node?.dispose()
    expect(complaints).toEqual([])
  })

  const notes = (tab: Page) => tab.getByLabel('Note', { exact: true })
  const add = async (tab: Page, text: string) => {
    await tab.getByRole('button', { name: 'New note' }).click()
    await notes(tab).last().fill(text)
  }
  /** Waits until a tab shows these notes, in any order, and has sent its own. */
  const untilShows = (tab: Page, ...texts: string[]) =>
    tab.waitForFunction((wanted) => {
      const { document } = globalThis as unknown as {
        document: { querySelectorAll(s: string): Iterable<never> }
      }
      const shown = [...document.querySelectorAll('textarea')].map(({ value }: { value: string }) => value)
      const [state] = [...document.querySelectorAll('#state')] as { textContent: string }[]
      return JSON.stringify(shown.sort()) === wanted && state!.textContent.includes('All notes are stored.')
    }, JSON.stringify(texts.sort()))

  test('what one tab writes, the other shows', async () => {
    const [one, two] = tabs as [Page, Page]
    await add(one, 'milk')
    await untilShows(one, 'milk')
    await untilShows(two, 'milk')
    await notes(two).fill('milk\nbread')
    await untilShows(one, 'milk\nbread')
    await untilShows(two, 'milk\nbread')
  })

  test('edits of the same note and of others, without a connection, are all there afterwards', async () => {
    const [one, two] = tabs as [Page, Page]
    for (const tab of tabs) await tab.context().setOffline(true)
    await notes(one).fill('milk\nbread\ncheese')
    await notes(two).fill('milk\nbread\ntomatoes')
    await add(one, 'only in the first')
    await add(two, 'only in the second')
    for (const tab of tabs) await tab.getByText('Offline. 2 not sent yet.').waitFor()
    await one.context().setOffline(false)
    await untilShows(one, 'milk\nbread\ncheese', 'only in the first')
    await two.context().setOffline(false)
    const merged = 'milk\nbread\ncheese\ntomatoes'
    for (const tab of tabs) await untilShows(tab, merged, 'only in the first', 'only in the second')

    // The next edit, in either tab, stands for both.
    const both = notes(one).first()
    expect(await both.inputValue()).toBe(merged)
    await both.fill('milk\ncheese')
    for (const tab of tabs) await untilShows(tab, 'milk\ncheese', 'only in the first', 'only in the second')
  })

  test('a deletion without a connection leaves what another tab wrote meanwhile, and a reload shows what is stored', async () => {
    const [one, two] = tabs as [Page, Page]
    await one.context().setOffline(true)
    await one.getByRole('button', { name: 'Delete' }).first().click()
    await notes(two).first().fill('milk\ncheese\nhoney')
    await untilShows(two, 'milk\ncheese\nhoney', 'only in the first', 'only in the second')
    await one.context().setOffline(false)
    for (const tab of tabs)
      await untilShows(tab, 'milk\ncheese\nhoney', 'only in the first', 'only in the second')
    await one.getByRole('button', { name: 'Delete' }).first().click()
    await untilShows(two, 'only in the first', 'only in the second')
    await one.reload()
    await untilShows(one, 'only in the first', 'only in the second')
  })
})
