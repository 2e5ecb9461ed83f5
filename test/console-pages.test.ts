/**
 * The console's pages in Chromium: what a first visitor does, what each page shows, and that people who use keys or a
 * screen reader can do it too (axe-core). `SCREENSHOTS=docs/console npx vitest run test/console-pages.test.ts` takes the
 * pictures of the documentation: light, dark, and as a phone shows them.
 */
import type { BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as support from './support/console-browser.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const ADMIN_TOKEN = 'token-of-the-test'
const TIMEOUT_MS = 120_000

describe.runIf(support.CHROMIUM)('the console in a browser', { timeout: TIMEOUT_MS }, () => {
  let node: TestNode
  let browser: support.ConsoleBrowser
  let context: BrowserContext
  let page: Page
  let base: string
  let key: { id: string; secret: string }
  let complaints: string[]

  beforeAll(async () => {
    node = await startTestNode({ secrets: { adminToken: ADMIN_TOKEN } })
    base = `http://127.0.0.1:${node.adminApi!.port}/console/`
    key = await node.createKey('visitor')
    browser = await support.openBrowser()
    ;({ context, page, complaints } = browser)
  }, TIMEOUT_MS)

  afterAll(async () => {
    await browser?.close()
    await node?.dispose()
    expect(complaints).toEqual([])
  })

  const violations = () => support.violations(page)
  const picture = (name: string) => support.picture(page, name)

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
    await support.signInWithKey(page, base, key)
    await page.getByRole('link', { name: 'Buckets', exact: true }).click()
    await page.getByRole('button', { name: 'New bucket' }).click()
    await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill('photos')
    expect(await violations()).toEqual([])
    await page.getByRole('button', { name: 'Create' }).click()
    await page.getByRole('link', { name: 'photos', exact: true }).click()
    await page.getByText('Nothing here yet').waitFor()
    const name = 'hello <img src=x onerror=alert(1)> \u202e.txt'
    await page.getByLabel('Upload files').setInputFiles([
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
    await support.signInWithToken(page, base, ADMIN_TOKEN)
    for (const [link, what] of [
      ['Overview', 'Healthy'],
      ['Cluster', 'Everything is in sync.'],
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
    await page.getByRole('link', { name: 'Access keys', exact: true }).click()
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

  /** Opens a setting, as its document. */
  const openDocument = async (name: string) => {
    const summary = page.locator('summary', { hasText: new RegExp(`^${name}$`) })
    await summary.waitFor()
    // The one in the address is open.
    const open = page.locator('details[open]').filter({ has: summary })
    if ((await open.count()) === 0) await summary.click()
    const views = page.getByRole('group', { name: `${name}: How to see it` })
    await views.getByRole('button', { name: 'Document' }).click()
  }

  test('a policy is told in plain words, checked by the server, and saved', async () => {
    const open = async (name: string) => {
      await openDocument(name)
      return page.getByRole('textbox', { name, exact: true })
    }
    const policy = await open('Policy')
    await page.getByRole('button', { name: 'Begin with an example' }).click()
    await page.getByText('Anybody may read objects in photos/public/*').waitFor()
    const wrong = (await policy.inputValue()).replace('s3:GetObject', 's3:NoSuchThing')
    const right = await policy.inputValue()
    await policy.fill(wrong)
    await page.getByRole('button', { name: 'Save' }).last().click()
    await page.getByRole('alert').waitFor()
    expect(await policy.inputValue()).toBe(wrong)
    await policy.fill(right)
    await page.getByRole('button', { name: 'Save' }).last().click()
    await page.getByText('Saved').waitFor()
    expect(await violations()).toEqual([])
    await picture('bucket-policy')
    const id = node.core.model.buckets.localByName('photos', undefined)!.hexId
    const headers = { authorization: `Bearer ${ADMIN_TOKEN}` }
    const kept = await fetch(new URL(`/v2/GetBucketSettings?id=${id}`, base), { headers })
    const { policy: found } = (await kept.json()) as { policy: { Statement: { Resource: string }[] } }
    expect(found.Statement[0]!.Resource).toBe('arn:aws:s3:::photos/public/*')
  })

  test('every setting of a bucket has an example that the store takes, for an administrator and for a key', async () => {
    const names = [
      'Lifecycle',
      'CORS',
      'Web site',
      'Encryption',
      'Tags',
      'Object lock',
      'Public access',
      'Ownership',
    ]
    const saveAll = async () => {
      for (const name of names) {
        await openDocument(name)
        const part = page.locator('details[open]', { has: page.getByRole('textbox', { name, exact: true }) })
        await part.getByRole('button', { name: 'Begin with an example' }).click()
        await part.getByRole('button', { name: 'Save' }).click()
        await part.getByText('Saved').waitFor()
      }
      await page.reload()
      for (const name of names) {
        await openDocument(name)
        const box = page.getByRole('textbox', { name, exact: true })
        await box.waitFor()
        expect([name, await box.inputValue()]).not.toEqual([name, ''])
      }
      expect(await violations()).toEqual([])
    }
    await page.goto(`${base}bucket-settings/photos`)
    await page.getByLabel('Another name').fill('pictures')
    await page.getByRole('button', { name: 'Add', exact: true }).click()
    await page.getByRole('button', { name: 'Remove the name pictures' }).waitFor()
    await saveAll()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await support.signInWithKey(page, base, key)
    await page.getByRole('link', { name: 'Buckets', exact: true }).click()
    await page.getByRole('button', { name: 'New bucket' }).click()
    await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill('own')
    await page.getByRole('button', { name: 'Create' }).click()
    await page.getByRole('link', { name: 'Settings: own' }).click()
    await page.getByRole('button', { name: 'Enabled' }).click()
    await page.getByText('enabled', { exact: true }).waitFor()
    await saveAll()
    await picture('bucket-settings-by-key')
    await page.getByRole('button', { name: 'Sign out' }).click()
    await support.signInWithToken(page, base, ADMIN_TOKEN)
  })

  test('a node that goes away is told, and nothing is lost', async () => {
    await page.getByRole('link', { name: 'Access keys', exact: true }).click()
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
