/**
 * A site of some dozens of small files, as a generator makes them, published by the programs that people use for that and then
 * visited: every link from page to page is followed, and in Chromium, where there is one, the pages are loaded with all that they
 * need. A program that is not there is passed over.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { CreateBucketCommand, PutBucketWebsiteCommand, type S3Client } from '@aws-sdk/client-s3'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { CHROMIUM } from './support/console-browser.js'
import { startTestNode, type TestNode } from './support/test-node.js'
import { type Visit, visit } from './support/visit.js'

const run = promisify(execFile)
const POSTS = 30
const TIMEOUT_MS = 120_000
const dir = mkdtempSync(join(tmpdir(), 'carport-site-'))
const source = join(dir, 'site')

let node: TestNode
let s3: S3Client
let key: AccessKey

/** Publishes the folder into a bucket, and deletes there what is no longer in it. */
type Publish = (bucket: string) => Promise<unknown>

const environment = () => ({
  ...process.env,
  HOME: dir,
  // Certificates of its own are of no use here, and rclone stumbles over them.
  AWS_CA_BUNDLE: undefined,
  AWS_ACCESS_KEY_ID: key.id,
  AWS_SECRET_ACCESS_KEY: key.secret,
  AWS_DEFAULT_REGION: 'us-east-1',
  AWS_CONFIG_FILE: '/dev/null',
  RCLONE_CONFIG: '/dev/null',
  RCLONE_CONFIG_STORE_TYPE: 's3',
  RCLONE_CONFIG_STORE_PROVIDER: 'Other',
  RCLONE_CONFIG_STORE_ENV_AUTH: 'true',
  RCLONE_CONFIG_STORE_REGION: 'us-east-1',
  RCLONE_CONFIG_STORE_ENDPOINT: endpoint(),
})
const endpoint = () => `http://127.0.0.1:${node.s3!.port}`
const start = (program: string, ...args: string[]) => run(program, args, { env: environment() })

const PROGRAMS: { program: string; asks: string; publish: Publish }[] = [
  {
    program: 'rclone',
    asks: 'version',
    publish: (bucket) => start('rclone', 'sync', '--checksum', source, `store:${bucket}`),
  },
  {
    program: 'aws',
    asks: '--version',
    publish: (bucket) =>
      start('aws', '--endpoint-url', endpoint(), 's3', 'sync', '--delete', source, `s3://${bucket}`),
  },
]

async function isThere(program: string, asks: string): Promise<boolean> {
  const works = await run(program, [asks]).then(
    () => true,
    () => false,
  )
  if (!works) console.log(`${program} is not tested: it is not there.`)
  return works
}

const there = await Promise.all(PROGRAMS.map(({ program, asks }) => isThere(program, asks)))

function file(path: string, text: string): void {
  mkdirSync(dirname(join(source, path)), { recursive: true })
  writeFileSync(join(source, path), text)
}

function page(title: string, body: string): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>
<link rel="stylesheet" href="/style.css"><link rel="icon" href="/icon.svg"></head>
<body><h1>${title}</h1>${body}<script type="module" src="/app.js"></script></body></html>`
}

function makeSite(): void {
  const links = Array.from({ length: POSTS }, (_, i) => `<a href="/posts/${i}/">Post ${i}</a>`)
  file(
    'index.html',
    page('Home', `${links.join(' ')} <a href="about">About</a> <a href="notes/ä%20b.html">Note</a>`),
  )
  for (let i = 0; i < POSTS; i++) {
    // A folder without its slash, to its neighbours.
    const next = `<a href="../${(i + 1) % POSTS}">Next</a>`
    file(`posts/${i}/index.html`, page(`Post ${i}`, `<img src="picture.svg" alt="">${i === 0 ? '' : next}`))
    if (i % 3 === 0) file(`posts/${i}/picture.svg`, '<svg xmlns="http://www.w3.org/2000/svg"/>')
    else file(`posts/${i}/picture.svg`, `<svg xmlns="http://www.w3.org/2000/svg"><title>${i}</title></svg>`)
  }
  file('about/index.html', page('About', '<a href="/">Home</a> <a href="../feed.xml">Feed</a>'))
  file('notes/ä b.html', page('Note', '<a href="../data.json">Data</a>'))
  file('404.html', page('Not here', '<a href="/">Home</a>'))
  file('style.css', 'body { color: black }')
  file('icon.svg', '<svg xmlns="http://www.w3.org/2000/svg"/>')
  file('app.js', 'document.body.dataset.ran = "yes"')
  file('feed.xml', '<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"/>')
  file('data.json', '{}')
}

const TYPES: Record<string, RegExp> = {
  html: /^text\/html/,
  css: /^text\/css/,
  js: /^(text|application)\/javascript/,
  svg: /^image\/svg\+xml/,
  xml: /^(text|application)\/xml/,
  json: /^application\/json/,
}

beforeAll(async () => {
  makeSite()
  node = await startTestNode()
  key = await node.createKey('publisher')
  s3 = node.client(key)
}, TIMEOUT_MS)

afterAll(async () => {
  await node?.dispose()
  rmSync(dir, { recursive: true, force: true })
})

/** Follows all links from `/`, through redirects, and returns the answers by path. */
async function crawl(host: string): Promise<Map<string, Visit>> {
  const seen = new Map<string, Visit>()
  const waiting = ['/']
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (seen.has(path)) continue
    const answer = await visit(node.web!.port, host, path)
    seen.set(path, answer)
    const targets = [...answer.text.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, target]) => target!)
    if (answer.headers.location) targets.push(answer.headers.location)
    for (const target of targets) waiting.push(new URL(target, `http://${host}${path}`).pathname)
  }
  return seen
}

describe('a site published by', () => {
  for (const [i, { program, publish }] of PROGRAMS.entries()) {
    test.skipIf(!there[i])(
      `${program} has no broken link, the right types, redirects to folders and its own page for errors; and follows its source`,
      { timeout: TIMEOUT_MS },
      async () => {
        const bucket = `site-${program}`
        const host = `${bucket}.web.localhost`
        await s3.send(new CreateBucketCommand({ Bucket: bucket }))
        const website = { IndexDocument: { Suffix: 'index.html' }, ErrorDocument: { Key: '404.html' } }
        await s3.send(new PutBucketWebsiteCommand({ Bucket: bucket, WebsiteConfiguration: website }))
        await publish(bucket)
        const found = await crawl(host)
        const broken = [...found].filter(([, { status }]) => status !== 200 && status !== 302)
        expect(broken.map(([path]) => path)).toEqual([])
        // All pages and pictures, the folders that were linked without their slash, and what pages share.
        expect(found.size).toBeGreaterThan(3 * POSTS)
        for (const [path, { status, headers }] of found) {
          if (status === 302) {
            expect(new URL(headers.location!, `http://${host}`).pathname).toBe(`${path}/`)
            continue
          }
          const ending = /\.([a-z]+)$/.exec(path)?.[1] ?? 'html'
          expect([path, headers['content-type']]).toEqual([path, expect.stringMatching(TYPES[ending]!)])
        }
        const missing = await visit(node.web!.port, host, '/posts/none/')
        expect([missing.status, missing.text]).toEqual([404, expect.stringContaining('Not here')])

        file('style.css', 'body { color: darkblue }')
        file('new.html', page('New', ''))
        rmSync(join(source, 'data.json'))
        await publish(bucket)
        const [style, added, removed] = await Promise.all(
          ['/style.css', '/new.html', '/data.json'].map((path) => visit(node.web!.port, host, path)),
        )
        expect([style!.text, added!.status, removed!.status]).toEqual(['body { color: darkblue }', 200, 404])
        makeSite()
        rmSync(join(source, 'new.html'))
      },
    )
  }

  test.skipIf(!CHROMIUM || !there[0])(
    'rclone loads whole in Chromium, with styles and scripts, and its links lead from page to page',
    { timeout: TIMEOUT_MS },
    async () => {
      const bucket = 'site-seen'
      await s3.send(new CreateBucketCommand({ Bucket: bucket }))
      await s3.send(
        new PutBucketWebsiteCommand({
          Bucket: bucket,
          WebsiteConfiguration: {
            IndexDocument: { Suffix: 'index.html' },
            ErrorDocument: { Key: '404.html' },
          },
        }),
      )
      await PROGRAMS[0]!.publish(bucket)
      const origin = `http://${bucket}.web.localhost:${node.web!.port}`
      const browser = await chromium.launch({
        executablePath: CHROMIUM!,
        args: [
          '--no-sandbox',
          '--disable-dev-shm-usage',
          '--host-resolver-rules=MAP *.web.localhost 127.0.0.1',
        ],
      })
      try {
        const shown = await browser.newPage()
        shown.setDefaultTimeout(TIMEOUT_MS / 2)
        const failed: string[] = []
        shown.on('response', (answer) => {
          if (answer.status() >= 400) failed.push(answer.url())
        })
        shown.on('requestfailed', (request) => failed.push(request.url()))
        await shown.goto(`${origin}/`)
        await shown.locator('body[data-ran="yes"]').waitFor()
        await shown.getByRole('link', { name: 'Post 7' }).click()
        await shown.getByRole('heading', { name: 'Post 7' }).waitFor()
        await shown.getByRole('link', { name: 'Next' }).click()
        await shown.getByRole('heading', { name: 'Post 8' }).waitFor()
        expect(new URL(shown.url()).pathname).toBe('/posts/8/')
        expect(failed).toEqual([])
        await shown.goto(`${origin}/nowhere`)
        await shown.getByRole('heading', { name: 'Not here' }).waitFor()
      } finally {
        await browser.close()
      }
    },
  )
})
