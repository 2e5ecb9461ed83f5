import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import type { Page } from 'playwright-core'
import { CHROMIUM, openBrowser, signInWithKey } from '../test/support/console-browser.js'
import type { Target } from './load/raw-s3.js'
import { carport } from './stores/carport.js'
import { ACCESS_KEY } from './stores/cluster-config.js'

// node dist/bench/console.js [COUNT] [flat]: browses a bucket of COUNT keys (10 million unless told) with the console in Chromium,
// all keys in one folder or in a tree of 1000, and prints how long the page was busy at most while one scrolls, searches by a
// prefix and for what names contain, and how long the store takes for pages at the start and deep in the bucket.

const BUCKET = 'default-bucket'
const DEEP_PAGES = 30
const CONTAINS_MS = 10_000
const SCROLLS = 600
const SCROLL_PX = 2000
/** What a display shows in a second. */
const FRAMES = 60

interface Watch {
  /** The longest task of the page's thread, in ms. */
  longestTaskMs: number
  /** The longest computing time of a task of that thread, in ms: without what other programs took of the machine. */
  longestCpuMs: number
  /** Times between two frames, in ms, sorted. */
  framesMs: number[]
}

/** An event of Chromium's trace. */
interface TraceEvent {
  readonly name: string
  readonly pid: number
  readonly tid: number
  /** The computing time of the thread, in microseconds. */
  readonly tdur?: number
  readonly args?: { readonly name?: string }
}

/** The longest computing time of a task of the pages' main threads, in ms. */
function longestCpuMs(trace: Buffer): number {
  const { traceEvents } = JSON.parse(trace.toString()) as { traceEvents: TraceEvent[] }
  const threadOf = ({ pid, tid }: TraceEvent) => `${pid}.${tid}`
  const isMain = ({ name, args }: TraceEvent) => name === 'thread_name' && args?.name === 'CrRendererMain'
  const main = new Set(traceEvents.filter(isMain).map(threadOf))
  const tasks = traceEvents.filter((event) => event.name === 'RunTask' && main.has(threadOf(event)))
  return Math.max(0, ...tasks.map(({ tdur = 0 }) => tdur / 1000))
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
  const browser = page.context().browser()!
  await browser.startTracing(page, {
    categories: ['devtools.timeline', 'disabled-by-default-devtools.timeline'],
  })
  await act()
  const trace = await browser.stopTracing()
  const seen = await page.evaluate<Omit<Watch, 'longestCpuMs'>>('(watch.isOn = false, watch)')
  const watch = { ...seen, longestCpuMs: longestCpuMs(trace) }
  watch.framesMs.sort((a, b) => a - b)
  return watch
}

function tell(what: string, { longestTaskMs, longestCpuMs, framesMs }: Watch, more: string): void {
  const worst = framesMs.at(-1) ?? 0
  const p99 = framesMs[Math.floor(framesMs.length * 0.99)] ?? 0
  const late = framesMs.filter((ms) => ms > 100).length
  const task = longestTaskMs === 0 ? 'none over 50' : longestTaskMs.toFixed(0)
  console.log(
    `${what}: longest task ${task} ms, of which at most ${longestCpuMs.toFixed(0)} ms computing; frames: 99 of 100 within ${p99.toFixed(0)} ms, worst ${worst.toFixed(0)} ms, ` +
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

/** The median time of a page of a thousand keys, in ms: of the first ones of a bucket, and of those far behind. */
async function deepPages(target: Target, count: number, isFlat: boolean): Promise<void> {
  const client = new S3Client({
    ...{ endpoint: target.endpoint, region: target.region, forcePathStyle: true },
    credentials: { accessKeyId: ACCESS_KEY.id, secretAccessKey: ACCESS_KEY.secret },
  })
  const medianOf = async (StartAfter: string, Delimiter?: string) => {
    const times: number[] = []
    let token: string | undefined
    for (let i = 0; i < DEEP_PAGES; i++) {
      const fromMs = performance.now()
      const start = token === undefined ? { StartAfter } : { ContinuationToken: token }
      const page = await client.send(
        new ListObjectsV2Command({ Bucket: BUCKET, ...start, ...(Delimiter && { Delimiter }) }),
      )
      times.push(performance.now() - fromMs)
      token = page.NextContinuationToken
      if (token === undefined) break
    }
    return times.sort((a, b) => a - b)[times.length >> 1]!.toFixed(1)
  }
  const deep = isFlat ? `k${String(Math.floor(count * 0.95)).padStart(8, '0')}` : 'd9/s50/'
  const first = await medianOf('')
  const last = await medianOf(deep)
  console.log(`pages of 1000 keys from the store: ${first} ms at the start, ${last} ms behind ${deep}`)
  if (isFlat) {
    console.log(
      `with a delimiter: ${await medianOf('', '/')} ms at the start, ${await medianOf(deep, '/')} ms behind ${deep}`,
    )
  } else console.log(`the folders of the whole bucket: ${await medianOf('', '/')} ms`)
  client.destroy()
}

/** The memory of the page's scripts, in MiB. */
async function heapMiB(page: Page): Promise<number> {
  const session = await page.context().newCDPSession(page)
  await session.send('HeapProfiler.collectGarbage')
  const { usedSize } = await session.send('Runtime.getHeapUsage')
  return Math.round(usedSize / 2 ** 20)
}

async function measure(page: Page, base: string, isFlat: boolean): Promise<void> {
  const folder = isFlat ? '' : 'd5/s55/'
  await page.goto(`${base}buckets/${BUCKET}?in=${folder}`)
  const rows = page.getByRole('row')
  await rows.first().waitFor()
  const scrolled = await watched(page, () => scroll(page))
  const status = page.getByRole('status').filter({ hasText: 'entries' }).or(page.getByText('and more'))
  const listed = (await status.first().textContent())?.trim()
  tell('scrolling', scrolled, `${listed} listed, ${await heapMiB(page)} MiB of scripts' memory`)
  const back = await watched(page, async () => {
    await page.evaluate("document.querySelector('.rows').scrollTop = 0")
    await page.getByRole('button', { name: 'k00000000' }).waitFor()
  })
  tell('back to the start', back, `${await page.getByRole('row').count()} rows in the page`)
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

/** Searches the whole bucket for what no name contains, for a while. */
async function measureContains(page: Page, base: string): Promise<void> {
  await page.goto(`${base}buckets/${BUCKET}`)
  await page.getByRole('row').first().waitFor()
  await page.getByRole('combobox', { name: 'How to search' }).selectOption('contains')
  const searched = await watched(page, async () => {
    await page.getByRole('searchbox').fill('nowhere')
    await page.waitForTimeout(CONTAINS_MS)
  })
  const status = await page
    .getByRole('status')
    .filter({ hasText: /found among|No name/ })
    .textContent()
  const found = status?.replace(/Stop$/, '').trim()
  tell('searching in all names', searched, `${found} after ${CONTAINS_MS / 1000} s`)
}

async function main(count: number, isFlat: boolean): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'carport-console-bench-'))
  const store = await carport('carport', false).start(join(dir, 'store'))
  try {
    const startedMs = performance.now()
    await store.generate!(BUCKET, count, isFlat)
    console.log(
      `${count} keys were made in ${((performance.now() - startedMs) / 1000).toFixed(0)} s; load ${loadavg()[0]!.toFixed(1)}`,
    )
    const [, admin] = /\[admin\]\napi_bind_addr = "([^"]+)"/.exec(
      readFileSync(join(dir, 'store/node.toml'), 'utf8'),
    )!
    const base = `http://${admin}/console/`
    const browser = await openBrowser()
    try {
      await signInWithKey(browser.page, base, ACCESS_KEY)
      await measure(browser.page, base, isFlat)
      await measureContains(browser.page, base)
      await deepPages(store.target, count, isFlat)
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
