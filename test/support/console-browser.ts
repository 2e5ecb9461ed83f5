import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'

/** Where Chromium is; undefined where there is none. */
export const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  existsSync,
)
const SCREENSHOTS = process.env.SCREENSHOTS
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const WIDE = { width: 1200, height: 800 }

if (!CHROMIUM)
  console.log('The pages of the console are not tested: there is no Chromium (apt install chromium).')

/** A browser with the console of a node. */
export interface ConsoleBrowser {
  readonly context: BrowserContext
  readonly page: Page
  /** What the pages complained of. */
  readonly complaints: string[]
  /** Opens another page and watches it too. */
  newPage(): Promise<Page>
  close(): Promise<void>
}

export async function openBrowser(): Promise<ConsoleBrowser> {
  const browser: Browser = await chromium.launch({
    executablePath: CHROMIUM!,
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  })
  const context = await browser.newContext({ viewport: WIDE })
  const complaints: string[] = []
  const newPage = async () => {
    const page = await context.newPage()
    page.setDefaultTimeout(60_000)
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error' && !/status of 40\d/.test(message.text()))
        complaints.push(message.text())
    })
    return page
  }
  return { context, page: await newPage(), complaints, newPage, close: () => browser.close() }
}

export async function signInWithKey(page: Page, base: string, key: { id: string; secret: string }) {
  await page.goto(base)
  await page.getByLabel('Access key ID').fill(key.id)
  await page.getByLabel('Secret key').fill(key.secret)
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
  await page.getByRole('navigation', { name: 'Pages' }).waitFor()
}

export async function signInWithToken(page: Page, base: string, token: string) {
  await page.goto(base)
  await page.getByRole('button', { name: 'Admin token' }).click()
  await page.getByRole('textbox').fill(token)
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
  await page.getByRole('navigation', { name: 'Pages' }).waitFor()
}

/** What axe-core finds wrong on the page as it is, and with its colours in the dark. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AXE)
  const run = async (options: object) => {
    const text = JSON.stringify({ resultTypes: ['violations'], ...options })
    const found = await page.evaluate<{ violations: { id: string; nodes: { html: string }[] }[] }>(
      `axe.run(document, ${text})`,
    )
    return found.violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html }) => `${id}: ${html.slice(0, 160)}`),
    )
  }
  const found = await run({})
  await page.emulateMedia({ colorScheme: 'dark' })
  const inTheDark = await run({ runOnly: ['color-contrast'] })
  await page.emulateMedia({ colorScheme: 'light' })
  return [...found, ...inTheDark.map((each) => `in the dark: ${each}`)]
}

/** Takes the pictures of a page, light, dark and as a phone shows it, where SCREENSHOTS names a folder for them. */
export async function picture(page: Page, name: string): Promise<void> {
  if (!SCREENSHOTS) return
  mkdirSync(SCREENSHOTS, { recursive: true })
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    await page.screenshot({ path: join(SCREENSHOTS, `${name}-${colorScheme}.png`) })
  }
  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize({ width: 390, height: 780 })
  await page.screenshot({ path: join(SCREENSHOTS, `${name}-phone.png`) })
  await page.setViewportSize(WIDE)
}

/** Makes an admin token with all rights by the admin API. */
export async function makeAdminToken(base: string, by: string): Promise<{ token: string; secret: string }> {
  const answer = await fetch(new URL('/v2/CreateAdminToken', base), {
    method: 'POST',
    headers: { authorization: `Bearer ${by}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'made by the test', scope: ['*'], neverExpires: true }),
  })
  const { id, secretToken } = (await answer.json()) as { id: string; secretToken: string }
  return { token: id, secret: secretToken }
}
