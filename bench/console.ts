import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { CHROMIUM, openBrowser, signInWithKey } from '../test/support/console-browser.js'
import { carport } from './stores/carport.js'
import { ACCESS_KEY } from './stores/cluster-config.js'

// node dist/bench/console.js [COUNT] [flat]: browses a bucket of COUNT keys (10 million unless told) with the console in Chromium,
// all keys in one folder or in a tree of 1000, and prints how long the page was busy at most while one scrolls and searches.

const BUCKET = 'default-bucket'
const SCROLLS = 600
const SCROLL_PX = 2000
/** What a display shows in a second. */
const FRAMES = 60

interface Watch {
  /** The longest task of the page's thread, in ms. */
  longestTaskMs: number
  /** Times between two frames, in ms, sorted. */
  framesMs: number[]
}

/** Watches the page while something is done with it. */
async function watched(page: Page, act: () => Promise<void>): Promise<Watch> {
  await page.evaluate(`{
    window.watch = { longestTaskMs: 0, framesMs: [], isOn: true }
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) watch.longestTaskMs = Math.max(watch.longestTaskMs, duration)
    }).observe({ type: 'longtask' })
    let last = performance.now()
    const frame = (now) => {
      watch.framesMs.push(now - last)
      last = now
      if (watch.isOn) requestAnimationFrame(frame)
    }
    requestAnimationFrame(frame)
  }`)
  await act()
  const watch = await page.evaluate<Watch>('(watch.isOn = false, watch)')
  watch.framesMs.sort((a, b) => a - b)
  return watch
}

function tell(what: string, { longestTaskMs, framesMs }: Watch, more: string): void {
  const worst = framesMs.at(-1) ?? 0
  const p99 = framesMs[Math.floor(framesMs.length * 0.99)] ?? 0
  const late = framesMs.filter((ms) => ms > 100).length
  const task = longestTaskMs === 0 ? 'none over 50' : longestTaskMs.toFixed(0)
  console.log(
    `${what}: longest task ${task} ms; frames: 99 of 100 within ${p99.toFixed(0)} ms, worst ${worst.toFixed(0)} ms, ` +
      `${late} of ${framesMs.length} over 100 ms; ${more}`,
  )
}

/** Scrolls as a wheel does, without waiting for what comes. */
async function scroll(page: Page): Promise<void> {
  await page.evaluate(`new Promise((resolve) => {
    const rows = document.querySelector('.rows')
    let left = ${SCROLLS}
    const timer = setInterval(() => {
      rows.scrollTop += ${SCROLL_PX}
      if (--left === 0) { clearInterval(timer); resolve() }
    }, ${1000 / FRAMES})
  })`)
}

async function measure(page: Page, base: string, isFlat: boolean): Promise<void> {
  const folder = isFlat ? '' : 'd5/s55/'
  await page.goto(`${base}buckets/${BUCKET}?in=${folder}`)
  const rows = page.getByRole('row')
  await rows.first().waitFor()
  const scrolled = await watched(page, () => scroll(page))
  const status = page.getByRole('status').filter({ hasText: 'entries' }).or(page.getByText('and more'))
  tell('scrolling', scrolled, `${(await status.first().textContent())?.trim()} listed`)
  const wanted = isFlat ? 'k00099' : 'k0000099'
  let tookMs = 0
  const searched = await watched(page, async () => {
    await page.getByRole('searchbox').pressSequentially(wanted, { delay: 60 })
    const typedMs = performance.now()
    await page
      .getByRole('button', { name: new RegExp(`^${wanted}`) })
      .first()
      .waitFor()
    await page.waitForURL(/search=/)
    tookMs = performance.now() - typedMs
  })
  tell(
    'searching',
    searched,
    `found ${tookMs.toFixed(0)} ms after the last key, of which 250 ms wait for more`,
  )
}

async function main(count: number, isFlat: boolean): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'carport-console-bench-'))
  const store = await carport('carport', false).start(join(dir, 'store'))
  try {
    const startedMs = performance.now()
    await store.generate!(BUCKET, count, isFlat)
    console.log(`${count} keys were made in ${((performance.now() - startedMs) / 1000).toFixed(0)} s`)
    const [, admin] = /\[admin\]\napi_bind_addr = "([^"]+)"/.exec(
      readFileSync(join(dir, 'store/node.toml'), 'utf8'),
    )!
    const base = `http://${admin}/console/`
    const browser = await openBrowser()
    try {
      await signInWithKey(browser.page, base, ACCESS_KEY)
      await measure(browser.page, base, isFlat)
    } finally {
      await browser.close()
    }
  } finally {
    await store.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

const [count = '10000000', shape = ''] = process.argv.slice(2)
if (!CHROMIUM || !/^\d+$/.test(count) || !/^(flat)?$/.test(shape)) {
  console.error(CHROMIUM ? 'usage: console.js [COUNT] [flat]' : 'console.js: there is no Chromium')
  process.exitCode = 1
} else await main(Number(count), shape === 'flat')
