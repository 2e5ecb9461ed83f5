/** Sign-in to the console with an identity provider in Chromium, sessions that end, and attempts to misuse both. */
import { CreateBucketCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import * as support from './support/console-browser.js'
import { startProvider, type TestProvider } from './support/oidc-provider.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const TIMEOUT_MS = 120_000
const READERS = 'GK000000000000000000000001'
const WRITERS = 'GK000000000000000000000002'
const OPERATORS = 'GK000000000000000000000003'
const ADMIN_TOKEN = 'token-of-the-test'
const Bucket = 'shared'

describe.runIf(support.CHROMIUM)('sign-in to the console', { timeout: TIMEOUT_MS }, () => {
  let provider: TestProvider
  let node: TestNode
  let client: S3Client
  let browser: support.ConsoleBrowser
  let page: Page
  let base: string

  beforeAll(async () => {
    provider = await startProvider()
    const role = (name: string, value: string, accessKey: string, adminScope: string[] = []) => ({
      name,
      claim: 'groups',
      value,
      accessKey,
      adminScope,
    })
    node = await startTestNode({
      secrets: { adminToken: ADMIN_TOKEN },
      oidc: [
        {
          ...{ name: 'home', issuer: provider.url, audiences: ['carport'], jwksUri: null },
          console: { clientId: 'carport', scope: 'openid groups' },
          roles: [
            role('readers', 'readers', READERS),
            role('writers', 'writers', WRITERS),
            role('operators', 'operators', OPERATORS, [
              'GetClusterHealth',
              'GetClusterStatus',
              'ListKeys',
              'ListWorkers',
            ]),
            role('admins', 'admins', OPERATORS, ['*']),
          ],
        },
      ],
    })
    const owner = await node.createKey('owner')
    client = node.client(owner)
    await client.send(new CreateBucketCommand({ Bucket }))
    await client.send(new PutObjectCommand({ Bucket, Key: 'folder/one.txt', Body: 'one' }))
    const { keys, buckets } = node.core.model
    const { id } = (await buckets.byName(Bucket, undefined))!
    for (const [key, write] of [
      [READERS, false],
      [WRITERS, true],
      [OPERATORS, false],
    ] as const) {
      await keys.import(key, `secret-of-${key}`, key)
      await keys.setPermissions(key, id, { read: true, write, owner: false })
    }
    base = `http://127.0.0.1:${node.adminApi!.port}/console/`
    browser = await support.openBrowser()
    page = browser.page
  }, TIMEOUT_MS)

  afterAll(async () => {
    await browser?.close()
    await node?.dispose()
    await provider?.stop()
    expect(browser?.complaints).toEqual([])
  })

  beforeEach(async () => {
    provider.claims = { groups: ['readers', 'writers'] }
    provider.tamper = undefined
    provider.refreshes = false
    await page.close()
    page = await browser.newPage()
  })

  const withProvider = () => page.getByRole('button', { name: 'Sign in with home' })
  /** Goes to the provider, and resolves when it has sent the browser back. */
  const signInByProvider = async () => {
    const back = page.waitForResponse((response) => response.url().startsWith(`${base}signed-in`))
    await withProvider().click()
    await back
  }
  const stored = async (): Promise<{ key?: Record<string, unknown>; login?: object }> =>
    JSON.parse((await page.evaluate<string | null>("sessionStorage.getItem('carport.session')")) ?? '{}')

  test('the page may ask the provider and nobody else, and learns nothing secret', async () => {
    const { origin } = new URL(base)
    const policyOf = async (path: string) =>
      (await fetch(new URL(path, base))).headers.get('content-security-policy')
    // The origin of the token endpoint, which the discovery document names, and not even that of the issuer.
    expect(provider.tokenOrigin).not.toBe(provider.url)
    expect(await policyOf('buckets')).toContain(`; connect-src 'self' ${provider.tokenOrigin};`)
    expect(origin).not.toBe(provider.tokenOrigin)
    const told = await (await fetch(`${base}settings.json`)).text()
    expect(JSON.parse(told).providers).toEqual([
      {
        name: 'home',
        issuer: provider.url,
        clientId: 'carport',
        scope: 'openid groups',
        roles: ['readers', 'writers', 'operators', 'admins'],
        hasAdmins: true,
        metadata: {
          issuer: provider.url,
          jwks_uri: `${provider.url}/keys`,
          authorization_endpoint: `${provider.url}/authorize`,
          token_endpoint: `${provider.tokenOrigin}/token`,
          id_token_signing_alg_values_supported: ['ES256'],
        },
      },
    ])
    expect(told).not.toContain(READERS)
  })

  test('one comes back to the page that one asked for, with the keys of the first role that fits', async () => {
    await page.goto(`${base}buckets/${Bucket}?in=folder/&search=on`)
    await withProvider().waitFor()
    expect(await support.violations(page)).toEqual([])
    await support.picture(page, 'sign-in-with-provider')
    await signInByProvider()
    await page.getByRole('button', { name: 'one.txt' }).waitFor()
    expect(page.url()).toBe(`${base}buckets/${Bucket}?in=folder/&search=on`)
    const { key, login } = await stored()
    expect(key).toMatchObject({ sessionToken: expect.any(String), expiresMs: expect.any(Number) })
    expect(login).toEqual({ provider: 'home', role: '', isAdmin: false })
    const asked = provider.asked.at(-1)!
    expect(Object.fromEntries(asked)).toMatchObject({
      ...{
        response_type: 'code',
        client_id: 'carport',
        scope: 'openid groups',
        code_challenge_method: 'S256',
      },
      redirect_uri: `${base}signed-in`,
    })
    // The first role only reads.
    await page
      .getByLabel('Upload files')
      .setInputFiles([{ name: 'two.txt', mimeType: 'text/plain', buffer: Buffer.from('2') }])
    await page.getByText('You may not do that').waitFor()
    // A link that others follow carries the session's token.
    await page.getByRole('button', { name: 'one.txt' }).click()
    await page.getByRole('button', { name: '1 hour' }).click()
    const link = await page.getByLabel('Link that anybody can follow for').inputValue()
    expect(await (await fetch(link)).text()).toBe('one')
  })

  test('a role is asked for by its name', async () => {
    await page.goto(`${base}buckets/${Bucket}?in=folder/`)
    await page.getByLabel('Role').selectOption('writers')
    await signInByProvider()
    await page.getByText('by home, as writers').waitFor()
    await page
      .getByLabel('Upload files')
      .setInputFiles([{ name: 'two.txt', mimeType: 'text/plain', buffer: Buffer.from('2') }])
    await page.getByRole('button', { name: 'two.txt' }).waitFor()
  })

  const menu = () => page.getByRole('navigation', { name: 'Pages' }).getByRole('link').allTextContents()

  test('a role with rights of an administrator shows what its scope names, and nothing else', async () => {
    provider.claims = { groups: ['operators'] }
    await page.goto(base)
    await signInByProvider()
    await page.getByRole('region', { name: 'Health' }).waitFor()
    expect(await menu()).toEqual(['Overview', 'Cluster', 'Buckets', 'Access keys', 'Work and repairs'])
    await page.getByRole('link', { name: 'Access keys', exact: true }).click()
    await page.getByRole('cell', { name: 'owner', exact: true }).waitFor()
    expect(await page.getByRole('button', { name: 'New access key' }).count()).toBe(0)
    expect(await page.getByRole('button', { name: /^Delete/ }).count()).toBe(0)
    await page.getByRole('link', { name: 'Work and repairs', exact: true }).click()
    await page.getByRole('columnheader', { name: 'State' }).first().waitFor()
    expect(await page.getByText('Start a repair').count()).toBe(0)
    await page.getByRole('link', { name: 'Cluster', exact: true }).click()
    await page.getByText('test').first().waitFor()
    expect(await page.getByRole('alert').count()).toBe(0)
    expect(await support.violations(page)).toEqual([])
  })

  test('the exchange of a token for rights of an administrator takes good tokens of the console alone', async () => {
    const ask = async (form: Record<string, string>, method = 'POST') => {
      const body = method === 'POST' ? { body: new URLSearchParams(form) } : {}
      const answer = await fetch(`${base}admin-session`, { method, ...body })
      const told = (await answer.json()) as { code?: string; token?: string; scope?: string[] }
      return [answer.status, told.code ?? told.scope]
    }
    const token = await provider.token({ groups: ['operators'] })
    expect(await ask({ token, role: 'operators' })).toEqual([200, expect.arrayContaining(['ListKeys'])])
    expect(await ask({ token: await provider.token({ groups: ['readers'] }) })).toEqual([200, []])
    expect(await ask({ token, role: 'admins' })).toEqual([403, 'AccessDenied'])
    expect(await ask({ token: await provider.token({ groups: 'x' }) })).toEqual([403, 'AccessDenied'])
    expect(await ask({ token: `${token}x` })).toEqual([400, 'InvalidIdentityToken'])
    const old = await provider.token({ groups: ['operators'], exp: 1_700_000_000 })
    expect(await ask({ token: old })).toEqual([400, 'ExpiredTokenException'])
    expect(await ask({})).toEqual([400, 'InvalidRequest'])
    expect(await ask({ token: 'x'.repeat(100_000) })).toEqual([413, 'EntityTooLarge'])
    expect(await ask({}, 'GET')).toEqual([405, 'MethodNotAllowed'])
    // An ID token is no token of the admin API by itself.
    const authorization = `Bearer ${token}`
    const refused = await fetch(new URL('/v2/ListKeys', base), { headers: { authorization } })
    expect(refused.status).toBe(403)
  })

  test('a role without a scope gives no rights of an administrator, and whoever has one keeps it until its key is gone', async () => {
    provider.claims = { groups: ['readers', 'admins'] }
    await page.goto(base)
    // The first role that fits has none.
    await signInByProvider()
    await page.getByRole('navigation', { name: 'Pages' }).waitFor()
    expect(await menu()).toEqual(['Overview', 'Buckets'])
    expect(await stored()).not.toHaveProperty('adminToken')
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('Role').selectOption('admins')
    await signInByProvider()
    await page.getByRole('link', { name: 'Admin tokens', exact: true }).click()
    await page.getByText('admin_token (from the configuration)').waitFor()
    const { keys } = node.core.model
    await keys.delete(OPERATORS)
    await page.getByRole('link', { name: 'Access keys', exact: true }).click()
    await page.getByRole('dialog', { name: 'The session is over' }).waitFor()
  })

  test('who has no role, or is refused by the provider, is told so, and other ways stay', async () => {
    provider.claims = { groups: 'nobody' }
    await page.goto(base)
    await signInByProvider()
    await page.getByRole('alert').getByText('No role is for you here').waitFor()
    expect(page.url()).toBe(base)
    provider.tamper = (answer) => {
      answer.delete('code')
      answer.set('error', 'access_denied')
      answer.set('error_description', '<img src=x onerror=alert(1)> said no')
    }
    await signInByProvider()
    await page.getByRole('alert').getByText('<img src=x onerror=alert(1)> said no').waitFor()
    await page.getByRole('button', { name: 'Admin token' }).click()
    await page.getByRole('textbox').fill(ADMIN_TOKEN)
    await page.getByRole('button', { name: 'Sign in', exact: true }).click()
    await page.getByRole('navigation', { name: 'Pages' }).waitFor()
  })

  test('an answer with another state or nonce, or without a question, signs nobody in', async () => {
    const granted = provider.granted.length
    provider.tamper = (answer) => answer.set('state', 'of-somebody-else')
    await page.goto(base)
    await signInByProvider()
    await page
      .getByRole('alert')
      .getByText(/is not the one to the question of this page.*state/)
      .waitFor()
    expect(provider.granted.length).toBe(granted)
    provider.tamper = undefined
    provider.claims = { groups: 'readers', nonce: 'of-another-tab' }
    await signInByProvider()
    await page
      .getByRole('alert')
      .getByText(/is not the one to the question of this page.*nonce/)
      .waitFor()
    // A link that somebody sends: the code is theirs, so that one would act in their account.
    await page.goto(`${base}signed-in?code=theirs&state=theirs`)
    await page
      .getByRole('alert')
      .getByText('That was not the answer to a sign-in that began in this tab')
      .waitFor()
    expect(page.url()).toBe(base)
    expect(await stored()).toEqual({})
  })

  test('one is never sent to another origin, whatever the tab was told to come back to', async () => {
    for (const returnTo of [
      'https://evil.example/console/',
      '//evil.example/console/',
      '/v2/ListKeys',
      'javascript:alert(1)',
      '/console/signed-in?code=1',
    ]) {
      const tab = await browser.newPage()
      // What the tab keeps of the question is changed before the page reads it.
      await tab.addInitScript(`{
        const kept = JSON.parse(sessionStorage.getItem('carport.sign-in'))
        if (kept) kept.returnTo = ${JSON.stringify(returnTo)}
        if (kept) sessionStorage.setItem('carport.sign-in', JSON.stringify(kept))
      }`)
      await tab.goto(base)
      await tab.getByRole('button', { name: 'Sign in with home' }).click()
      await tab.getByRole('navigation', { name: 'Pages' }).waitFor()
      expect([returnTo, tab.url()]).toEqual([returnTo, base])
      await tab.close()
    }
  })

  test('a revoked key ends the session; uploads and what was typed stay, and go on with another key', async () => {
    const { keys, buckets } = node.core.model
    const { id } = (await buckets.byName(Bucket, undefined))!
    const make = async (name: string) => {
      const key = await node.createKey(name)
      await keys.setPermissions(key.id, id, { read: true, write: true, owner: false })
      return key
    }
    const [revoked, other] = [await make('revoked'), await make('other')]
    await support.signInWithKey(page, base, revoked)
    await page.goto(`${base}buckets/${Bucket}?in=folder/`)
    await page.getByRole('button', { name: 'one.txt' }).click()
    await page.getByRole('tab', { name: 'Copy or move' }).click()
    await page.getByLabel('To key').fill('folder/moved.txt')
    await keys.delete(revoked.id)
    await page.getByRole('button', { name: 'Copy', exact: true }).last().click()
    const over = page.getByRole('dialog', { name: 'The session is over' })
    await over.getByText('The access key has expired or was deleted').waitFor()
    expect(await support.violations(page)).toEqual([])
    await support.picture(page, 'session-over')
    await over.getByLabel('Access key ID').fill(other.id)
    await over.getByLabel('Secret key').fill(other.secret)
    await over.getByRole('button', { name: 'Sign in', exact: true }).click()
    await over.waitFor({ state: 'detached' })
    expect(await page.getByLabel('To key').inputValue()).toBe('folder/moved.txt')
    await page.getByRole('button', { name: 'Copy', exact: true }).last().click()
    await page.getByText('Copied', { exact: true }).waitFor()
    await page.keyboard.press('Escape')

    await keys.delete(other.id)
    const third = await make('third')
    await page
      .getByLabel('Upload files')
      .setInputFiles([{ name: 'late.txt', mimeType: 'text/plain', buffer: Buffer.from('late') }])
    await over.getByLabel('Access key ID').fill(third.id)
    await over.getByLabel('Secret key').fill(third.secret)
    await over.getByRole('button', { name: 'Sign in', exact: true }).click()
    await page.getByRole('button', { name: 'late.txt' }).waitFor()
    expect(new URL(page.url()).searchParams.get('in')).toBe('folder/')
  })

  test('a revoked admin token ends the session in the same way', async () => {
    const tokens = node.core.model.adminTokens
    const { token, secret } = await support.makeAdminToken(base, ADMIN_TOKEN)
    await support.signInWithToken(page, base, secret)
    await page.getByRole('link', { name: 'Access keys', exact: true }).click()
    await page.getByRole('cell', { name: 'owner', exact: true }).waitFor()
    await tokens.delete(token)
    await page.getByRole('link', { name: 'Admin tokens', exact: true }).click()
    const over = page.getByRole('dialog', { name: 'The session is over' })
    await over.getByText('The admin token has expired or was deleted').waitFor()
    await over.getByRole('textbox').fill(ADMIN_TOKEN)
    await over.getByRole('button', { name: 'Sign in', exact: true }).click()
    await page.getByText('admin_token (from the configuration)').waitFor()
  })

  test('a key and an admin token are used side by side', async () => {
    const key = await node.createKey('both')
    await support.signInWithToken(page, base, ADMIN_TOKEN)
    await page.getByRole('button', { name: 'Sign in to more' }).click()
    const dialog = page.getByRole('dialog', { name: 'Sign in to more' })
    await dialog.getByLabel('Access key ID').fill(key.id)
    await dialog.getByLabel('Secret key').fill(key.secret)
    expect(await support.violations(page)).toEqual([])
    await dialog.getByRole('button', { name: 'Sign in', exact: true }).click()
    await dialog.waitFor({ state: 'detached' })
    await page.getByText(key.id).waitFor()
    await page.getByRole('link', { name: 'Access keys', exact: true }).click()
    await page.getByRole('cell', { name: 'both', exact: true }).waitFor()
    expect(await page.getByRole('button', { name: 'Sign in to more' }).count()).toBe(0)
  })

  test('a provider that the node could not ask yet is asked for when one wants to sign in', async () => {
    let answers = 0
    await page.route('**/console/settings.json', async (route) => {
      const response = await route.fetch()
      const told = (await response.json()) as { providers: { metadata: object | null }[] }
      if (answers++ < 2) for (const each of told.providers) each.metadata = null
      await route.fulfill({ response, json: told })
    })
    await page.goto(base)
    await withProvider().click()
    await page.getByRole('alert').getByText('The node cannot ask home what it is').waitFor()
    await signInByProvider()
    await page.getByRole('navigation', { name: 'Pages' }).waitFor()
  })

  // The last one: the clock is that of all pages.
  test('temporary keys are renewed before they end, and without a refresh token their end is told', async () => {
    provider.refreshes = true
    await page.clock.install()
    await page.goto(base)
    await signInByProvider()
    await page.getByRole('navigation', { name: 'Pages' }).waitFor()
    const first = (await stored()).key!.accessKeyId
    provider.refreshes = false
    provider.claims = { groups: 'readers', exp: Math.floor(Date.now() / 1000) + 7200 }
    await page.clock.fastForward('56:00')
    await expect.poll(async () => (await stored()).key!.accessKeyId).not.toBe(first)
    expect(provider.granted.at(-1)).toBe('refresh_token')
    // The refresh token stays where the provider gave no other one; this time it is taken away.
    await page.evaluate(`{
      const session = JSON.parse(sessionStorage.getItem('carport.session'))
      delete session.login.refreshToken
      sessionStorage.setItem('carport.session', JSON.stringify(session))
    }`)
    await page.reload()
    await page.clock.fastForward('56:00')
    await page.getByText('The temporary keys of this sign-in end at').waitFor()
    expect(await support.violations(page)).toEqual([])
    await page.clock.fastForward('06:00')
    await page.getByRole('dialog').getByText('The temporary keys have expired').waitFor()
  })
})
