/** What the console lets administrators do beside objects, in Chromium: scrub and repairs, keys that expire, buckets deleted whole. */
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  ListBucketsCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as support from './support/console-browser.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const TIMEOUT_MS = 120_000
const ADMIN_TOKEN = 'token-of-the-test'
const DAY_MS = 86_400_000

describe.runIf(support.CHROMIUM)('controls of the console', { timeout: TIMEOUT_MS }, () => {
  let node: TestNode
  let browser: support.ConsoleBrowser
  let page: Page
  let base: string
  let client: S3Client

  beforeAll(async () => {
    node = await startTestNode({ secrets: { adminToken: ADMIN_TOKEN } })
    base = `http://127.0.0.1:${node.adminApi!.port}/console/`
    const key = await node.createKey('owner')
    client = node.client(key)
    browser = await support.openBrowser()
    page = browser.page
    await support.signInWithToken(page, base, ADMIN_TOKEN)
    await page.getByRole('button', { name: 'Sign in to more' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Access key ID').fill(key.id)
    await dialog.getByLabel('Secret key').fill(key.secret)
    await dialog.getByRole('button', { name: 'Sign in', exact: true }).click()
    await dialog.waitFor({ state: 'detached' })
  }, TIMEOUT_MS)

  afterAll(async () => {
    await browser?.close()
    await node?.dispose()
    expect(browser?.complaints).toEqual([])
  })

  /** The commands that the page shows for what was done. */
  const commands = () =>
    page.evaluate<string[]>("[...document.querySelectorAll('.command input')].map((each) => each.value)")
  const button = (name: string | RegExp) => page.getByRole('button', { name, exact: true })

  test('the scrub is paused, goes on, begins and ends at once, and is as gentle as one says', async () => {
    const { scrub } = node.core.blocks
    await page.goto(`${base}workers`)
    await page.getByText('Scrub and pace of background work').click()
    await button('Pause for a day').click()
    await page.getByText('Nodes told: 1.').waitFor()
    expect(scrub.status().pausedUntilMs).toBeGreaterThan(Date.now() + DAY_MS / 2)
    expect(await commands()).toContain('carport repair --yes -a scrub pause')
    await button('Go on').click()
    await expect.poll(() => scrub.status().pausedUntilMs).toBe(0)
    const { completedMs } = scrub.status()
    await button('Start it now').click()
    await expect.poll(() => scrub.status().completedMs).toBeGreaterThan(completedMs)
    await Promise.all([scrub.begin(), scrub.pause(DAY_MS)])
    expect(scrub.status().running).toBe(true)
    await button('End it').click()
    await expect.poll(() => scrub.status().running).toBe(false)

    const gentle = page.getByLabel('Tranquility of the scrub')
    await gentle.fill('7')
    expect(await support.violations(page)).toEqual([])
    await gentle.press('Enter')
    await page.getByText('Saved').waitFor()
    expect(scrub.status().tranquility).toBe(7)
    await page.reload()
    await page.getByText('Scrub and pace of background work').click()
    await expect.poll(() => gentle.inputValue()).toBe('7')
    // What the nodes refuse is told in their words, and what was typed stays.
    await gentle.fill('-1')
    await gentle.press('Enter')
    await page.getByRole('alert').waitFor()
    expect(await gentle.inputValue()).toBe('-1')
    expect(scrub.status().tranquility).toBe(7)
  })

  test('a repair is started, and stands in the list of what nodes do', async () => {
    await page.goto(`${base}workers`)
    await page.getByText('Start a repair').click()
    await button('blockRefs').click()
    await page.getByText('Nodes told: 1.').waitFor()
    expect(await commands()).toContain('carport repair --yes -a block-refs')
    await page.getByRole('cell', { name: /repair.*block.?refs/i }).waitFor()
  })

  test('a new key ends after the days that one gives it, and another never does', async () => {
    await page.goto(`${base}keys`)
    const make = async (name: string, days: string) => {
      await button('New access key').click()
      const dialog = page.getByRole('dialog')
      await dialog.getByLabel('Name', { exact: true }).fill(name)
      await dialog.getByLabel('Days until it expires').fill(days)
      await dialog.getByRole('button', { name: 'Create' }).click()
      await dialog.getByText('Keep the secret now').waitFor()
      await page.keyboard.press('Escape')
      for await (const key of node.core.model.keys.walk()) if (key.name === name) return key
      throw new Error(`no key ${name}`)
    }
    const nowMs = Date.now()
    const short = await make('for a week', '7')
    expect(short.expiresMs! - nowMs).toBeGreaterThanOrEqual(7 * DAY_MS)
    expect(short.expiresMs! - nowMs).toBeLessThan(8 * DAY_MS)
    expect((await make('for ever', '')).expiresMs).toBeUndefined()
    const row = (name: string) => page.getByRole('row').filter({ hasText: name })
    await row('for ever').getByText('never').waitFor()
    expect(await row('for a week').getByText('never').count()).toBe(0)
  })

  test('a bucket is deleted with all that is in it, after its name was typed', async () => {
    const Bucket = 'doomed'
    await client.send(new CreateBucketCommand({ Bucket }))
    await client.send(
      new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }),
    )
    const Keys = Array.from({ length: 1100 }, (_, i) => `folder ${i % 7}/<b>${i}</b>&\u202e`)
    for (let at = 0; at < Keys.length; at += 100)
      await Promise.all(
        Keys.slice(at, at + 100).map((Key) => client.send(new PutObjectCommand({ Bucket, Key, Body: 'x' }))),
      )
    await client.send(new PutObjectCommand({ Bucket, Key: Keys[0]!, Body: 'again' }))
    await client.send(new CreateMultipartUploadCommand({ Bucket, Key: 'unfinished' }))
    await page.goto(`${base}bucket-settings/${Bucket}`)
    await button('Delete doomed').click()
    const dialog = page.getByRole('dialog')
    const confirm = dialog.getByRole('button', { name: 'Delete', exact: true })
    await confirm.click()
    // The bucket is not empty.
    await dialog.getByRole('alert').waitFor()
    await dialog.getByRole('checkbox', { name: /^With all objects/ }).check()
    expect(await confirm.isDisabled()).toBe(true)
    await dialog.getByLabel(/^Type the name/).fill('doome')
    expect(await confirm.isDisabled()).toBe(true)
    await dialog.getByLabel(/^Type the name/).fill(Bucket)
    expect(await support.violations(page)).toEqual([])
    await support.picture(page, 'delete-bucket')
    await confirm.click()
    await page.waitForURL(`${base}buckets`)
    expect((await client.send(new ListBucketsCommand({}))).Buckets).toEqual([])
  })

  test('what is held keeps its bucket, and one is told which object that is', async () => {
    const Bucket = 'held'
    await client.send(new CreateBucketCommand({ Bucket, ObjectLockEnabledForBucket: true }))
    await client.send(new PutObjectCommand({ Bucket, Key: 'free', Body: 'x' }))
    await client.send(new PutObjectCommand({ Bucket, Key: 'kept', Body: 'x' }))
    await client.send(new PutObjectLegalHoldCommand({ Bucket, Key: 'kept', LegalHold: { Status: 'ON' } }))
    await page.goto(`${base}bucket-settings/${Bucket}`)
    await button('Delete held').click()
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('checkbox', { name: /^With all objects/ }).check()
    await dialog.getByLabel(/^Type the name/).fill(Bucket)
    await dialog.getByRole('button', { name: 'Delete', exact: true }).click()
    await dialog.getByRole('alert').getByText('kept').waitFor()
    const { Versions } = await client.send(new ListObjectVersionsCommand({ Bucket }))
    expect(Versions!.map(({ Key }) => Key)).toEqual(['kept'])
  })
})
