/** The console's page of objects in Chromium: folders, versions, what is kept beside content, and uploads that break off. */
import { createHash, randomFillSync } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as support from './support/console-browser.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const TIMEOUT_MS = 120_000
const Bucket = 'things'

describe.runIf(support.CHROMIUM)('objects in the console', { timeout: TIMEOUT_MS }, () => {
  let node: TestNode
  let browser: support.ConsoleBrowser
  let page: Page
  let base: string
  let client: S3Client
  let key: { id: string; secret: string }
  const dir = mkdtempSync(join(tmpdir(), 'carport-console-'))

  beforeAll(async () => {
    node = await startTestNode()
    base = `http://127.0.0.1:${node.adminApi!.port}/console/`
    const made = await node.createKey('owner')
    key = made
    client = node.client(made)
    browser = await support.openBrowser()
    page = browser.page
    await support.signInWithKey(page, base, key)
    await page.getByRole('link', { name: 'Buckets', exact: true }).click()
    await page.getByRole('button', { name: 'New bucket' }).click()
    await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill(Bucket)
    await page.getByRole('button', { name: 'Create' }).click()
    await page.getByRole('link', { name: Bucket, exact: true }).waitFor()
  }, TIMEOUT_MS)

  afterAll(async () => {
    await browser?.close()
    await node?.dispose()
    rmSync(dir, { recursive: true, force: true })
    expect(browser?.complaints).toEqual([])
  })

  const open = (path = '') => page.goto(`${base}buckets/${Bucket}/${path}`)
  const put = (Key: string, Body: string) => client.send(new PutObjectCommand({ Bucket, Key, Body }))
  const textOf = async (Key: string) =>
    (await client.send(new GetObjectCommand({ Bucket, Key }))).Body!.transformToString()
  const keys = async () =>
    ((await client.send(new ListObjectsV2Command({ Bucket }))).Contents ?? []).map((each) => each.Key)
  const openObject = async (name: string, tab: string) => {
    await page.getByRole('button', { name, exact: true }).click()
    await page.getByRole('tab', { name: tab, exact: true }).click()
  }

  test('what one types is asked of the store as a prefix, and stands in the address', async () => {
    await Promise.all(['apple.txt', 'apricot.txt', 'banana.txt'].map((name) => put(name, name)))
    await open()
    await page.getByRole('button', { name: 'banana.txt' }).waitFor()
    await page.getByRole('searchbox').fill('ap')
    await page.getByText('2 entries').waitFor()
    expect(page.url()).toContain('search=ap')
    await page.reload()
    await page.getByText('2 entries').waitFor()
    await page.getByRole('searchbox').fill('apple.txt')
    await page.getByText('1 entries').waitFor()
    await page.getByRole('searchbox').fill('cherry')
    await page.getByText('Nothing here begins with that.').waitFor()
  })

  test('what names contain is searched for in all folders below, and shown while one looks on', async () => {
    await put('deep/er/Pineapple.txt', 'x')
    await open()
    await page.getByRole('combobox', { name: 'How to search' }).selectOption('contains')
    await page.getByRole('searchbox').fill('APPLE')
    await page.getByText('2 found among all 4 names.').waitFor()
    await page.getByRole('button', { name: 'deep/er/Pineapple.txt' }).waitFor()
    expect(page.url()).toContain('how=contains')
    expect(await support.violations(page)).toEqual([])
    // A search that takes long can be stopped, and goes on.
    const isListing = /list-type=2/
    let release!: () => void
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    await page.route(isListing, async (route) => {
      await released
      // The page has given it up.
      await route.continue().catch(() => undefined)
    })
    await page.getByRole('searchbox').fill('pineapple')
    await page.getByRole('button', { name: 'Stop' }).click()
    await page.getByRole('button', { name: 'Search on' }).waitFor()
    expect(await support.violations(page)).toEqual([])
    release()
    await page.unroute(isListing)
    await page.getByRole('button', { name: 'Search on' }).click()
    await page.getByText('1 found among all 4 names.').waitFor()
    // A key with a slash at its end is an object as it is found here, and no folder: the rest below it stays.
    await put('deep/', '')
    await page.getByRole('searchbox').fill('deep')
    await page.getByRole('checkbox', { name: 'Choose deep/', exact: true }).check()
    await page.getByRole('button', { name: 'Delete 1' }).click()
    await page.getByRole('button', { name: 'Delete', exact: true }).click()
    await page.getByText('1 found among all 4 names.').waitFor()
    expect(await keys()).toContain('deep/er/Pineapple.txt')
    await page.getByRole('searchbox').fill('cherry')
    await page.getByText('No name here or in the folders below contains that.').waitFor()
    await client.send(new DeleteObjectCommand({ Bucket, Key: 'deep/er/Pineapple.txt' }))
  })

  test('a long folder is scrolled to its end and back by keys alone, with few rows in the page', async () => {
    const names = Array.from({ length: 2500 }, (_, i) => `long/${String(i).padStart(5, '0')}`)
    for (let at = 0; at < names.length; at += 100)
      await Promise.all(names.slice(at, at + 100).map((name) => put(name, 'x')))
    await open('?in=long/')
    const focused = () => page.locator(':focus')
    await page.getByRole('button', { name: '00000' }).focus()
    await page.keyboard.press('ArrowDown')
    expect(await focused().textContent()).toBe('00001')
    // Each press goes to the end of what is known so far.
    await expect
      .poll(async () => {
        await page.keyboard.press('End')
        return focused().textContent()
      })
      .toBe('02499')
    await page.getByText('2,500 entries').waitFor()
    await page.keyboard.press('PageUp')
    expect(Number(await focused().textContent())).toBeLessThan(2499)
    await page.keyboard.press('Home')
    expect(await focused().textContent()).toBe('00000')
    expect(await page.getByRole('row').count()).toBeLessThan(60)
    await page.keyboard.press('Enter')
    await page.getByRole('dialog', { name: 'long/00000' }).waitFor()
    await page.keyboard.press('Escape')
    expect(await support.violations(page)).toEqual([])
    await open()
    await page.getByRole('checkbox', { name: 'Choose long/' }).check()
    await page.getByRole('button', { name: 'Delete 1' }).click()
    await page.getByRole('button', { name: 'Delete', exact: true }).click()
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    expect(await keys()).toEqual(['apple.txt', 'apricot.txt', 'banana.txt'])
  })

  test('headers, metadata and tags are shown and changed', async () => {
    await open()
    await openObject('apple.txt', 'Metadata')
    await page.getByLabel('content-type').fill('text/markdown')
    await page.getByRole('button', { name: 'Add' }).click()
    await page.getByLabel('Name 1').fill('colour')
    await page.getByLabel('Value 1').fill('green')
    expect(await support.violations(page)).toEqual([])
    await support.picture(page, 'object-metadata')
    await page.getByRole('button', { name: 'Save' }).click()
    await expect
      .poll(() => client.send(new HeadObjectCommand({ Bucket, Key: 'apple.txt' })))
      .toMatchObject({ ContentType: 'text/markdown', Metadata: { colour: 'green' } })
    expect(await textOf('apple.txt')).toBe('apple.txt')
    await page.getByLabel('x-amz-website-redirect-location').fill('/tree')
    await page.getByRole('button', { name: 'Save' }).click()
    await expect
      .poll(() => client.send(new HeadObjectCommand({ Bucket, Key: 'apple.txt' })))
      .toMatchObject({ WebsiteRedirectLocation: '/tree', Metadata: { colour: 'green' } })
    await page.getByRole('tab', { name: 'Tags' }).click()
    await page.getByRole('button', { name: 'Add' }).click()
    await page.getByLabel('Name 1').fill('kind')
    await page.getByLabel('Value 1').fill('<fruit> & more')
    await page.getByRole('button', { name: 'Save' }).click()
    // "<" and "&" may not stand in tags: the store's own words are shown, and what was typed stays.
    await page.getByRole('alert').waitFor()
    expect(await page.getByLabel('Value 1').inputValue()).toBe('<fruit> & more')
    await page.getByLabel('Value 1').fill('fruit')
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByText('Saved').waitFor()
    expect(await support.violations(page)).toEqual([])
    expect((await client.send(new GetObjectCommand({ Bucket, Key: 'apple.txt' }))).TagCount).toBe(1)
  })

  test('an object is copied, moved to a folder, and a folder is deleted with all that is in it', async () => {
    await open()
    await openObject('banana.txt', 'Copy or move')
    await page.getByLabel('To key').fill('fruit/yellow/banana.txt')
    expect(await support.violations(page)).toEqual([])
    await page.getByRole('button', { name: 'Move', exact: true }).click()
    await page.getByRole('link', { name: 'fruit/' }).waitFor()
    expect(await keys()).toEqual(['apple.txt', 'apricot.txt', 'fruit/yellow/banana.txt'])
    await openObject('apple.txt', 'Copy or move')
    await page.getByLabel('To key').fill('fruit/apple.txt')
    await page.getByRole('button', { name: 'Copy', exact: true }).last().click()
    await page.getByText('Copied').waitFor()
    const copied = await client.send(new HeadObjectCommand({ Bucket, Key: 'fruit/apple.txt' }))
    expect(copied.WebsiteRedirectLocation).toBe('/tree')
    await page.keyboard.press('Escape')
    await page.getByRole('checkbox', { name: 'Choose fruit/' }).check()
    await page.getByRole('button', { name: 'Delete 1' }).click()
    expect(await support.violations(page)).toEqual([])
    await support.picture(page, 'delete-folder')
    await page.getByRole('button', { name: 'Delete', exact: true }).click()
    await page.getByText('2 entries').waitFor()
    expect(await keys()).toEqual(['apple.txt', 'apricot.txt'])
  })

  test('a folder is uploaded as it is, and all of it has one bar', async () => {
    mkdirSync(join(dir, 'album/2024'), { recursive: true })
    for (const name of ['album/a.txt', 'album/b.txt', 'album/2024/c.txt']) {
      writeFileSync(join(dir, name), name)
    }
    await open()
    await page.getByLabel('Upload a folder').setInputFiles(join(dir, 'album'))
    await page.getByText('3 of 3 done').waitFor()
    expect(await support.violations(page)).toEqual([])
    await support.picture(page, 'upload')
    expect(await keys()).toEqual([
      'album/2024/c.txt',
      'album/a.txt',
      'album/b.txt',
      'apple.txt',
      'apricot.txt',
    ])
    expect(await textOf('album/2024/c.txt')).toBe('album/2024/c.txt')
  })

  test('an earlier version is restored, and a deleted object comes back', async () => {
    const VersioningConfiguration = { Status: 'Enabled' as const }
    await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }))
    await put('letter.txt', 'first')
    await put('letter.txt', 'second and longer')
    await open()
    await openObject('letter.txt', 'Versions')
    await page.getByText('current').waitFor()
    expect(await support.violations(page)).toEqual([])
    await support.picture(page, 'versions')
    await page.getByRole('button', { name: 'Restore' }).click()
    await expect.poll(() => textOf('letter.txt')).toBe('first')
    await page.keyboard.press('Escape')
    await page.getByRole('checkbox', { name: 'Choose letter.txt' }).check()
    await page.getByRole('button', { name: 'Delete 1' }).click()
    await page.getByRole('button', { name: 'Delete', exact: true }).click()
    await expect.poll(keys).not.toContain('letter.txt')
    await page.getByRole('checkbox', { name: 'Deleted, too' }).check()
    await page.getByRole('button', { name: 'letter.txt', exact: true }).click()
    await page.getByRole('button', { name: 'Undelete' }).click()
    await expect.poll(keys).toContain('letter.txt')
    expect(await textOf('letter.txt')).toBe('first')
  })

  test('an upload of 200 MB that lost the node, and then its tab, goes on with the same file', async () => {
    const bytes = randomFillSync(Buffer.alloc(200_000_000))
    const file = join(dir, 'film.bin')
    writeFileSync(file, bytes)
    await open()
    const sent = new Set<string>()
    const watch = (target: Page) =>
      target.on('requestfinished', (request) => {
        const number = /partNumber=(\d+)/.exec(request.url())
        if (number) sent.add(number[1]!)
      })
    watch(page)
    const someParts = (target: Page) => target.waitForResponse(/partNumber=3&/)
    const third = someParts(page)
    await page.getByLabel('Upload files').setInputFiles(file)
    await third
    await browser.context.setOffline(true)
    await page.getByText('The node does not answer').waitFor()
    await browser.context.setOffline(false)
    browser.complaints.length = 0
    const sixth = page.waitForResponse(/partNumber=6&/)
    await page.getByRole('button', { name: 'Go on', exact: true }).click()
    await sixth
    const session = await page.evaluate<string>('JSON.stringify(sessionStorage)')
    await page.close()
    const before = new Set(sent)
    expect(before.size).toBeGreaterThan(4)

    page = await browser.newPage()
    await page.goto(base)
    await page.evaluate(`void Object.assign(sessionStorage, ${session})`)
    await open()
    await page.getByRole('region', { name: 'Unfinished uploads' }).getByText('film.bin').waitFor()
    expect(await support.violations(page)).toEqual([])
    await support.picture(page, 'unfinished')
    sent.clear()
    watch(page)
    await page.getByLabel('File to go on with film.bin').setInputFiles(file)
    await page.getByRole('button', { name: 'film.bin', exact: true }).waitFor()
    expect([...sent].filter((number) => Number(number) <= 5)).toEqual([])
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: 'film.bin' }))
    const hash = createHash('sha256')
    for await (const chunk of Body as AsyncIterable<Uint8Array>) hash.update(chunk)
    expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'))
    const { Uploads } = await client.send(new ListMultipartUploadsCommand({ Bucket }))
    expect(Uploads ?? []).toEqual([])
  })
})
