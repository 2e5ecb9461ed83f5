/** The console's pages of the cluster in Chromium, against three nodes that are processes of their own. */
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as support from './support/console-browser.js'
import { ProcessCluster } from './support/processes.js'

const TIMEOUT_MS = 120_000
const ADMIN_TOKEN = 'token-of-the-test'

describe.runIf(support.CHROMIUM)('a cluster in the console', { timeout: TIMEOUT_MS }, () => {
  let cluster: ProcessCluster
  let browser: support.ConsoleBrowser
  let page: Page

  beforeAll(async () => {
    cluster = await ProcessCluster.create(3, 3, `admin_token = "${ADMIN_TOKEN}"`)
    await Promise.all(cluster.nodes.map((node) => node.start()))
    browser = await support.openBrowser()
    page = browser.page
    await support.signInWithToken(page, `http://127.0.0.1:${cluster.adminPorts[0]}/console/`, ADMIN_TOKEN)
  }, TIMEOUT_MS)

  afterAll(async () => {
    await browser?.close()
    await cluster?.dispose()
    expect(browser?.complaints).toEqual([])
  })

  const go = (name: string) => page.getByRole('link', { name, exact: true }).click()

  test('three nodes are connected and laid out by hand', async () => {
    await go('Cluster')
    for (const i of [1, 2]) {
      const id = (await cluster.cli(i, 'node', 'id', '-q')).trim()
      await page.getByRole('button', { name: 'Connect a node' }).click()
      await page.getByLabel('Id and address of the other node').fill(id)
      expect(await support.violations(page)).toEqual([])
      await page.getByRole('button', { name: 'Connect', exact: true }).click()
      await page.getByRole('dialog').waitFor({ state: 'detached' })
      await page.getByRole('rowheader').nth(i).waitFor()
    }
    await go('Layout')
    const without = page.getByRole('region', { name: 'Without a role' })
    await without.getByRole('article').nth(2).waitFor()
    for (const zone of ['paris', 'lyon']) {
      const node = without.getByRole('article').first()
      await node.getByLabel(/^Capacity/).fill('100')
      const name = await node.getByRole('heading').textContent()
      await page.getByLabel(`Zone of ${name!.trim()}`).fill(zone)
      await page.getByLabel(`Zone of ${name!.trim()}`).press('Tab')
      await page.getByRole('region', { name: zone }).getByRole('article').waitFor()
      await expect.poll(() => page.evaluate('document.activeElement.type')).toBe('number')
    }
    const last = without.getByRole('article')
    await last.getByLabel(/^Capacity/).fill('100')
    await last.getByLabel(/^Capacity/).press('Tab')
    await last
      .getByRole('heading')
      .dragTo(page.getByRole('region', { name: 'lyon' }).getByRole('heading').first())
    await expect.poll(() => page.getByRole('region', { name: 'lyon' }).getByRole('article').count()).toBe(2)
    await page
      .getByText('Without zone lyon, data would be lost.')
      .or(page.getByText('Without zone lyon'))
      .waitFor()
    const moved = page.getByRole('region', { name: 'lyon' }).getByRole('article').last()
    await moved.getByLabel(/^Zone/).fill('brest')
    await moved.getByLabel(/^Zone/).press('Tab')
    await page.getByText('Without zone brest, everything goes on.').waitFor()
    expect(await support.violations(page)).toEqual([])
    await support.picture(page, 'layout-of-three')
    await page.getByRole('button', { name: 'Apply this layout' }).click()
    await page.getByText('The layout is as you want it.').waitFor()
    const shown = await cluster.cli(1, 'layout', 'show')
    for (const zone of ['paris', 'lyon', 'brest']) expect(shown).toContain(zone)
  })

  test('the map shows zones, round trips and what is out of sync, and tells when a zone is lost', async () => {
    await go('Cluster')
    await page.getByText('Everything is in sync.').waitFor()
    const map = page.getByRole('img', { name: /^Map of the zones/ })
    await map.getByText(/ms$/).first().waitFor()
    await expect.poll(() => page.getByRole('cell', { name: /\d ms$/ }).count()).toBe(6)
    expect(await support.violations(page)).toEqual([])
    await support.picture(page, 'cluster')
    await cluster.nodes[2]!.stop('SIGKILL')
    await page.getByRole('cell', { name: 'down', exact: true }).waitFor()
    await page.getByRole('button', { name: 'Look again' }).click()
    await page.getByText('Error', { exact: true }).first().waitFor()
    expect(await support.violations(page)).toEqual([])
    await page.evaluate('scrollTo(0, 0)')
    await support.picture(page, 'cluster-zone-lost')
  })
})
