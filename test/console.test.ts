/** The console in a browser: what its address serves, and what it does with objects of others. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { presign, signHeaders } from '../src/client/sign.js'
import { parseListenAddress } from '../src/config/values.js'
import { consoleFolder } from '../src/platform/console-folder.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const REGION = 'us-east-1'

let node: TestNode
let base: string
let key: { accessKeyId: string; secret: string }

beforeAll(async () => {
  node = await startTestNode()
  base = `http://127.0.0.1:${node.adminApi!.port}`
  const made = await node.createKey('console')
  key = { accessKeyId: made.id, secret: made.secret }
})

afterAll(() => node.dispose())

function signed(method: string, path: string, body?: string, credentials = key) {
  const facts = { method, host: new URL(base).host, path, region: REGION, now: new Date() }
  const headers = signHeaders(facts, credentials)
  return fetch(`${base}/console/s3${path}`, { method, headers, ...(body !== undefined && { body }) })
}

test('the page is served under every address of the console, with a policy that lets nothing else run', async () => {
  expect(existsSync(join(consoleFolder(), 'index.html'))).toBe(true)
  for (const path of ['/console/', '/console/buckets', '/console/buckets/a/b%20c/']) {
    const answer = await fetch(base + path)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'self';/)
    const text = await answer.text()
    expect(text).not.toMatch(/<script(?![^>]*\bsrc=)/)
    const [, script] = /<script[^>]*src="([^"]+)"/.exec(text)!
    const file = await fetch(base + script, { headers: { 'accept-encoding': 'br' } })
    expect(file.headers.get('content-encoding')).toBe('br')
    expect(file.headers.get('cache-control')).toContain('immutable')
  }
  expect((await fetch(`${base}/console`, { redirect: 'manual' })).headers.get('location')).toBe('/console/')
  for (const path of ['/console/../package.json', '/console/assets/none.js', '/console/%2e%2e/x.js']) {
    expect((await fetch(base + path)).status).toBe(404)
  }
  expect(await (await fetch(`${base}/console/settings.json`)).json()).toMatchObject({
    region: REGION,
    s3Port: node.s3!.port,
  })
})

test('what the first page loads is less than 200 KB, compressed, and so is every other page with it', async () => {
  const bytesOf = async (path: string) => {
    const file = await fetch(base + path, { headers: { 'accept-encoding': 'br' } })
    return Number(file.headers.get('content-length'))
  }
  const sum = async (paths: readonly string[]) =>
    (await Promise.all(paths.map(bytesOf))).reduce((all, bytes) => all + bytes, 0)
  const page = await (await fetch(`${base}/console/`)).text()
  const first = [...page.matchAll(/"(\/console\/assets\/[^"]+)"/g)].map(([, path]) => path!)
  expect(first.filter((path) => path.endsWith('.js')).length).toBeGreaterThan(1)
  const firstBytes = await sum(first)
  expect(firstBytes).toBeGreaterThan(20_000)
  expect(firstBytes).toBeLessThan(200 * 1024)
  const later = readdirSync(join(consoleFolder(), 'assets'))
    .filter((name) => /\.(js|css)$/.test(name))
    .map((name) => `/console/assets/${name}`)
    .filter((path) => !first.includes(path))
  for (const path of later)
    expect([path, firstBytes + (await bytesOf(path)) < 200 * 1024]).toEqual([path, true])
})

describe('where the console is', () => {
  const consoleOf = (address: string | null, enabled = true) => ({
    console: { enabled, bindAddr: address === null ? null : parseListenAddress(address), tls: null },
  })

  test('an address of its own has the console, the endpoints with a token and S3, and nothing that is open', async () => {
    const other = await startTestNode({
      ...consoleOf('127.0.0.1:0'),
      secrets: { adminToken: 'token' },
    })
    try {
      expect(other.console!.port).not.toBe(other.adminApi!.port)
      const own = `http://127.0.0.1:${other.console!.port}`
      const ask = async (path: string) => (await fetch(own + path, { redirect: 'manual' })).status
      expect([
        await ask('/console/'),
        await ask('/console/settings.json'),
        await ask('/console/keys'),
      ]).toEqual([200, 200, 200])
      for (const path of [
        '/metrics',
        '/health',
        '/check?domain=x',
        '/openapi.json',
        '/v1/status',
        '/nothing',
      ])
        expect([path, await ask(path)]).toEqual([path, 404])
      expect((await fetch(own, { redirect: 'manual' })).headers.get('location')).toBe('/console/')
      expect(await ask('/v2/ListKeys')).toBe(403)
      const headers = { authorization: 'Bearer token' }
      expect((await fetch(`${own}/v2/ListKeys`, { headers })).status).toBe(200)
      const made = await other.createKey('console')
      const facts = { method: 'GET', host: new URL(own).host, path: '/', region: REGION, now: new Date() }
      const signed = signHeaders(facts, { accessKeyId: made.id, secret: made.secret })
      expect((await fetch(`${own}/console/s3/`, { headers: signed })).status).toBe(200)
      const admin = `http://127.0.0.1:${other.adminApi!.port}`
      expect((await fetch(`${admin}/console/`)).status).toBe(404)
      expect((await fetch(`${admin}/metrics`)).status).toBe(200)
    } finally {
      await other.dispose()
    }
  })

  test('the console needs no admin API of its own beside it, and can be turned off', async () => {
    const admin = {
      bindAddr: null,
      metricsRequireToken: false,
      traceSink: null,
      traceSampleRatio: 1,
      tls: null,
    }
    const alone = await startTestNode({ ...consoleOf('127.0.0.1:0'), admin })
    const off = await startTestNode(consoleOf(null, false))
    try {
      expect(alone.adminApi).toBeUndefined()
      expect((await fetch(`http://127.0.0.1:${alone.console!.port}/console/`)).status).toBe(200)
      expect(off.console).toBeUndefined()
      for (const path of ['/console/', '/console/s3/', '/console/settings.json']) {
        const answer = await fetch(`http://127.0.0.1:${off.adminApi!.port}${path}`)
        expect([path, answer.status]).toEqual([path, 404])
      }
    } finally {
      await alone.dispose()
      await off.dispose()
    }
  })
})

describe('the S3 API below the console', () => {
  test('takes requests that are signed in a header, at the paths that they were signed for', async () => {
    expect((await signed('PUT', '/mine')).status).toBe(200)
    expect((await signed('PUT', '/mine/a%20b/%3Ch1%3E', 'content')).status).toBe(200)
    const answer = await signed('GET', '/mine/a%20b/%3Ch1%3E')
    expect(await answer.text()).toBe('content')
    const wrong = await signed('GET', '/mine', undefined, { ...key, secret: 'wrong' })
    expect([wrong.status, await wrong.text()]).toEqual([
      403,
      expect.stringContaining('SignatureDoesNotMatch'),
    ])
  })

  test('never shows an object as a page of this origin: links and anonymous requests are refused', async () => {
    const path = '/mine/page.html'
    await signed('PUT', path, '<script>alert(1)</script>')
    const facts = { method: 'GET', path, region: REGION, now: new Date() }
    const link = presign(base, facts, key, 600)
    expect((await fetch(link.replace('/mine', '/console/s3/mine'))).status).toBe(403)
    expect((await fetch(`${base}/console/s3${path}`)).status).toBe(403)
    const answer = await signed('GET', path)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-security-policy')).toBe("sandbox; default-src 'none'")
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
  })

  test('takes the exchange of a token unsigned, and no other form, nor a form for a bucket', async () => {
    const post = (path: string, type: string) =>
      fetch(`${base}/console/s3/${path}`, {
        method: 'POST',
        headers: { 'content-type': type },
        body: 'Action=x',
      })
    const form = 'application/x-www-form-urlencoded'
    // This node has no identity provider, so that the S3 API itself refuses the method.
    expect((await post('', form)).status).toBe(405)
    for (const path of ['mine', 'mine/page.html', '?Action=AssumeRoleWithWebIdentity', '?delete'])
      expect([path, (await post(path, form)).status]).toEqual([path, 403])
    expect((await post('', 'multipart/form-data; boundary=x')).status).toBe(403)
  })

  test('the link that the console gives away is good at the address of the S3 API', async () => {
    const facts = { method: 'GET', path: '/mine/page.html', region: REGION, now: new Date() }
    expect(await (await fetch(presign(node.endpoint, facts, key, 600))).text()).toBe(
      '<script>alert(1)</script>',
    )
  })
})
