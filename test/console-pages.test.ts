/**
 * The console's pages in Chromium: what a first visitor does, what each page shows, and that people who use keys or a
 * screen reader can do it too (axe-core). `SCREENSHOTS=docs/console npx vitest run test/console-pages.test.ts` takes the
 * pictures of the documentation: light, dark, and as a phone shows them.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
const SCREENSHOTS = process.env.SCREENSHOTS
const ADMIN_TOKEN = 'token-of-the-test'
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const TIMEOUT_MS = 120_000

if (!CHROMIUM)
  console.log('The pages of the console are not tested: there is no Chromium (apt install chromium).')

describe.runIf(CHROMIUM)('the console in a browser', { timeout: TIMEOUT_MS }, () => {
  let node: TestNode
  let browser: Browser
  let context: BrowserContext
  let page: Page
  let base: string
  let key: { id: string; secret: string }
  const complaints: string[] = []

  beforeAll(async () => {
    node = await startTestNode({ secrets: { adminToken: ADMIN_TOKEN } })
    base = `http://127.0.0.1:${node.adminApi!.port}/console/`
    key = await node.createKey('visitor')
    browser = await chromium.launch({
      executablePath: CHROMIUM!,
      args: ['--no-sandbox', '--disable-dev-shm-usage'],
    })
    context = await browser.newContext({ viewport: { width: 1200, height: 800 } })
    page = await context.newPage()
    page.setDefaultTimeout(60_000)
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error' && !/status of 40\d/.test(message.text()))
        complaints.push(message.text())
    })
  }, TIMEOUT_MS)

  afterAll(async () => {
    await browser?.close()
    await node?.dispose()
    expect(complaints).toEqual([])
  })

  async function signInWithKey(): Promise<void> {
    await page.goto(base)
    await page.getByLabel('Access key ID').fill(key.id)
    await page.getByLabel('Secret key').fill(key.secret)
    await page.getByRole('button', { name: 'Sign in', exact: true }).click()
    await page.getByRole('navigation', { name: 'Pages' }).waitFor()
  }

  /** What axe-core finds wrong on the page as it is. */
  async function violations(): Promise<string[]> {
    await page.evaluate(AXE)
    const found = (await page.evaluate('axe.run(document, { resultTypes: ["violations"] })')) as {
      violations: { id: string; nodes: { html: string }[] }[]
    }
    return found.violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html }) => `${id}: ${html.slice(0, 160)}`),
    )
  }

  /** Takes the pictures of a page, where they are asked for. */
  async function picture(name: string): Promise<void> {
    if (!SCREENSHOTS) return
    mkdirSync(SCREENSHOTS, { recursive: true })
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      await page.screenshot({ path: join(SCREENSHOTS, `${name}-${colorScheme}.png`) })
    }
    await page.emulateMedia({ colorScheme: 'light' })
    await page.setViewportSize({ width: 390, height: 780 })
    await page.screenshot({ path: join(SCREENSHOTS, `${name}-phone.png`) })
    await page.setViewportSize({ width: 1200, height: 800 })
  }

  test('a wrong key is told in plain words, and what was typed stays', async () => {
    await page.goto(base)
    await page.getByLabel('Access key ID').fill(key.id)
    await page.getByLabel('Secret key').fill('wrong')
    await page.getByRole('button', { name: 'Sign in', exact: true }).click()
    await page.getByRole('alert').getByText('its secret is another one').waitFor()
    expect(await page.getByLabel('Access key ID').inputValue()).toBe(key.id)
    expect(await violations()).toEqual([])
    await picture('sign-in')
  })

  test('from the first visit to the first upload, a preview, a link, and the deletion', async () => {
    await signInWithKey()
    await page.getByRole('link', { name: 'Buckets', exact: true }).click()
    await page.getByRole('button', { name: 'New bucket' }).click()
    await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill('photos')
    expect(await violations()).toEqual([])
    await page.getByRole('button', { name: 'Create' }).click()
    await page.getByRole('link', { name: 'photos' }).click()
    await page.getByText('Nothing here yet').waitFor()
    const name = 'hello <img src=x onerror=alert(1)> \u202e.txt'
    await page.locator('input[type=file]').setInputFiles([
      { name, mimeType: 'text/plain', buffer: Buffer.from('Hello, <b>world</b>') },
      { name: 'b.bin', mimeType: 'application/octet-stream', buffer: Buffer.alloc(1000) },
    ])
    const shown = page.getByRole('button', { name: /^hello <img/ })
    await shown.waitFor()
    expect(await shown.textContent()).toBe('hello <img src=x onerror=alert(1)> \\u202e.txt')
    expect(await violations()).toEqual([])
    await picture('objects')
    await shown.click()
    await page.getByText('Hello, <b>world</b>').waitFor()
    await page.getByRole('button', { name: '1 hour' }).click()
    const link = await page.getByLabel('Link that anybody can follow for').inputValue()
    expect(await (await fetch(link)).text()).toBe('Hello, <b>world</b>')
    expect(await violations()).toEqual([])
    await picture('object')
    await page.keyboard.press('Escape')
    await page.getByRole('checkbox', { name: 'Choose b.bin' }).check()
    await page.getByRole('button', { name: 'Delete 1' }).click()
    await page.getByRole('button', { name: 'Delete', exact: true }).click()
    await page.getByText('1 entries').waitFor()
  })

  test('who has no admin token sees nothing of the cluster', async () => {
    const menu = await page.getByRole('navigation', { name: 'Pages' }).getByRole('link').allTextContents()
    expect(menu).toEqual(['Overview', 'Buckets'])
    await page.goto(`${base}keys`)
    await page.getByRole('heading', { name: 'Access keys' }).waitFor()
    expect(await page.getByRole('row').count()).toBe(0)
  })

  test('an administrator sees every page, and each can be used without a mouse or eyes', async () => {
    await page.goto(base)
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('button', { name: 'Admin token' }).click()
    await page.getByRole('textbox').fill(ADMIN_TOKEN)
    await page.getByRole('button', { name: 'Sign in', exact: true }).click()
    for (const [link, what] of [
      ['Overview', 'Healthy'],
      ['Live', 'Requests per second'],
      ['Buckets', 'photos'],
      ['Access keys', 'visitor'],
      ['Layout', 'The layout is as you want it.'],
      ['Work and repairs', 'No block is missing.'],
      ['Admin tokens', 'admin_token (from the configuration)'],
    ] as const) {
      await page.getByRole('link', { name: link, exact: true }).click()
      await page.getByText(what).first().waitFor()
      expect([link, await violations()]).toEqual([link, []])
      await picture(link.toLowerCase().replaceAll(' ', '-'))
    }
  })

  test('an administrator makes a key, gives it a bucket, and turns versioning on', async () => {
    await page.getByRole('link', { name: 'Access keys' }).click()
    await page.getByRole('button', { name: 'New access key' }).click()
    await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill('reader')
    await page.getByRole('button', { name: 'Create' }).click()
    const id = await page.getByLabel('Access key ID').inputValue()
    const secret = await page.getByLabel('Secret key').inputValue()
    expect([id, secret]).toEqual([expect.stringMatching(/^GK/), expect.stringMatching(/^[0-9a-f]{64}$/)])
    await page.keyboard.press('Escape')
    await page.getByRole('link', { name: 'Buckets', exact: true }).click()
    await page.getByRole('link', { name: 'Settings: photos' }).click()
    await page.getByLabel('reader: Read').check()
    await page.getByRole('button', { name: 'Enabled' }).click()
    await page.getByText('enabled', { exact: true }).waitFor()
    expect(await violations()).toEqual([])
    await picture('bucket-settings')
    const bucket = node.core.model.buckets.localByName('photos', undefined)!
    expect(bucket.versioning).toBe('enabled')
    expect(node.core.model.keys.local(id)!.permissions.get(bucket.hexId)).toMatchObject({
      read: true,
      write: false,
    })
  })

  test('a node that goes away is told, and nothing is lost', async () => {
    await page.getByRole('link', { name: 'Access keys' }).click()
    await page.getByRole('button', { name: 'New access key' }).click()
    await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill('later')
    await context.setOffline(true)
    await page.getByRole('button', { name: 'Create' }).click()
    await page.getByRole('alert').getByText('The node does not answer').waitFor()
    expect(await page.getByRole('dialog').getByLabel('Name', { exact: true }).inputValue()).toBe('later')
    await context.setOffline(false)
    await page.getByRole('button', { name: 'Create' }).click()
    await page.getByLabel('Secret key').waitFor()
    complaints.length = 0
  })
})
