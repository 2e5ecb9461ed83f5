/** The forms of a bucket's settings and the locks of versions in Chromium, and what they do with text that means harm. */
import {
  CreateBucketCommand,
  GetBucketCorsCommand,
  GetBucketEncryptionCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketOwnershipControlsCommand,
  GetBucketPolicyCommand,
  GetBucketTaggingCommand,
  GetBucketWebsiteCommand,
  GetObjectLegalHoldCommand,
  GetObjectLockConfigurationCommand,
  GetObjectRetentionCommand,
  GetPublicAccessBlockCommand,
  ListObjectVersionsCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as support from './support/console-browser.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const TIMEOUT_MS = 120_000
const ADMIN_TOKEN = 'token-of-the-test'
const Bucket = 'garden'
const HTML = '<img src=x onerror="window.ran=1">'

describe.runIf(support.CHROMIUM)('settings of buckets in the console', { timeout: TIMEOUT_MS }, () => {
  let node: TestNode
  let browser: support.ConsoleBrowser
  let page: Page
  let base: string
  let client: S3Client

  beforeAll(async () => {
    node = await startTestNode({ secrets: { adminToken: ADMIN_TOKEN } })
    base = `http://127.0.0.1:${node.adminApi!.port}/console/`
    const key = await node.createKey('gardener')
    client = node.client(key)
    await client.send(new CreateBucketCommand({ Bucket }))
    const VersioningConfiguration = { Status: 'Enabled' as const }
    await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }))
    browser = await support.openBrowser()
    page = browser.page
    await support.signInWithKey(page, base, key)
  }, TIMEOUT_MS)

  afterAll(async () => {
    const ran = await page?.evaluate('window.ran')
    await browser?.close()
    await node?.dispose()
    expect(ran).toBeUndefined()
    expect(browser?.complaints).toEqual([])
  })

  const setting = () => page.locator('details.document[open]')
  /** Opens one setting by its address. */
  const open = async (name: string) => {
    await page.goto(`${base}bucket-settings/${Bucket}?setting=${name}`)
    await setting().getByRole('button', { name: 'Document', exact: true }).waitFor()
  }
  const save = async () => {
    await setting().getByRole('button', { name: 'Save' }).click()
    await setting().getByText('Saved').waitFor()
  }
  const addRule = () => setting().getByRole('button', { name: 'Add a rule' }).click()
  const rule = (number: number) => setting().getByRole('group', { name: `Rule ${number}`, exact: true })
  const raw = async () => {
    await setting().getByRole('button', { name: 'Document', exact: true }).click()
    const text = await setting().locator('textarea').inputValue()
    await setting().getByRole('button', { name: 'Form', exact: true }).click()
    return text
  }

  test('lifecycle rules are made in a form, with as many criteria as one likes', async () => {
    await open('lifecycle')
    await addRule()
    await rule(1).getByLabel('Only names that begin with').fill('logs/')
    await rule(1).getByRole('button', { name: 'Add', exact: true }).click()
    await rule(1).getByLabel('Name 1').fill('kind')
    await rule(1).getByLabel('Value 1').fill('log')
    await rule(1).getByLabel('Delete earlier versions after so many days').fill('7')
    await addRule()
    await rule(2).getByLabel('Delete objects after so many days').fill('')
    await rule(2).getByLabel('Give up unfinished uploads after so many days').fill('3')
    expect(await support.violations(page)).toEqual([])
    await rule(1).scrollIntoViewIfNeeded()
    await support.picture(page, 'lifecycle-form')
    await save()
    const { Rules } = await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket }))
    expect(Rules).toMatchObject([
      {
        Status: 'Enabled',
        Filter: { And: { Prefix: 'logs/', Tags: [{ Key: 'kind', Value: 'log' }] } },
        Expiration: { Days: 30 },
        NoncurrentVersionExpiration: { NoncurrentDays: 7 },
      },
      { Status: 'Enabled', AbortIncompleteMultipartUpload: { DaysAfterInitiation: 3 } },
    ])
    expect(Rules![1]!.Expiration).toBeUndefined()
    await page.reload()
    await rule(2).waitFor()
    expect(await rule(1).getByLabel('Only names that begin with').inputValue()).toBe('logs/')
    await rule(1).getByRole('button', { name: 'Remove rule 1' }).click()
    await save()
    const left = await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket }))
    expect(left.Rules).toMatchObject([{ AbortIncompleteMultipartUpload: { DaysAfterInitiation: 3 } }])
  })

  test('each other setting has a form, and its document stays as the second view', async () => {
    await open('cors')
    await addRule()
    await rule(1).getByLabel('Origins of web pages, one a line').fill('https://a.example\nhttps://b.example')
    await rule(1).getByLabel('PUT').check()
    expect(await raw()).toContain('<AllowedOrigin>https://b.example</AllowedOrigin>')
    await save()
    const cors = await client.send(new GetBucketCorsCommand({ Bucket }))
    expect(cors.CORSRules).toEqual([
      { AllowedOrigins: ['https://a.example', 'https://b.example'], AllowedMethods: ['GET', 'PUT'] },
    ])

    await open('website')
    await setting().getByLabel('Index document').fill('index.html')
    await addRule()
    await rule(1).getByLabel('Where the path begins with').fill('docs/')
    await rule(1).getByLabel('Replace that beginning by').fill('documents/')
    expect(await support.violations(page)).toEqual([])
    await save()
    const site = await client.send(new GetBucketWebsiteCommand({ Bucket }))
    expect(site.IndexDocument).toEqual({ Suffix: 'index.html' })
    expect(site.RoutingRules).toMatchObject([
      { Condition: { KeyPrefixEquals: 'docs/' }, Redirect: { ReplaceKeyPrefixWith: 'documents/' } },
    ])

    await open('encryption')
    await setting().getByLabel('New objects are encrypted').selectOption('AES256')
    await save()
    const encryption = await client.send(new GetBucketEncryptionCommand({ Bucket }))
    expect(encryption.ServerSideEncryptionConfiguration!.Rules![0]).toMatchObject({
      ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' },
    })

    await open('object-lock')
    await setting().getByLabel('How it is locked').selectOption('GOVERNANCE')
    await setting().getByLabel('Days for which new versions are locked').fill('1')
    await save()
    const lock = await client.send(new GetObjectLockConfigurationCommand({ Bucket }))
    expect(lock.ObjectLockConfiguration).toEqual({
      ObjectLockEnabled: 'Enabled',
      Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 1 } },
    })

    await open('publicAccessBlock')
    await setting().getByLabel('Refuse lists of access').check()
    await save()
    const block = await client.send(new GetPublicAccessBlockCommand({ Bucket }))
    expect(block.PublicAccessBlockConfiguration).toMatchObject({
      BlockPublicAcls: true,
      BlockPublicPolicy: false,
    })

    await open('ownershipControls')
    await setting().getByLabel('Objects belong to').selectOption('BucketOwnerEnforced')
    await save()
    const ownership = await client.send(new GetBucketOwnershipControlsCommand({ Bucket }))
    expect(ownership.OwnershipControls!.Rules).toEqual([{ ObjectOwnership: 'BucketOwnerEnforced' }])

    await open('notification')
    await addRule()
    await rule(1).getByLabel('Target').fill('arn:carport:sqs::nowhere:webhook')
    await rule(1).getByLabel('Only names that end with').fill('.jpg')
    await rule(1).getByLabel('s3:ObjectRemoved:*').check()
    expect(await support.violations(page)).toEqual([])
    expect(await raw()).toMatch(/<Name>suffix<\/Name>\s*<Value>.jpg<\/Value>/)
    await setting().getByRole('button', { name: 'Save' }).click()
    // There is no such target: the store's own words are shown, and the form stays.
    await setting().getByRole('alert').waitFor()
    expect(await rule(1).getByLabel('Only names that end with').inputValue()).toBe('.jpg')
  })

  test('a policy is edited by rules, told in words and looked at before it is saved', async () => {
    const kept = {
      ...{ Effect: 'Deny', NotPrincipal: { AWS: ['GK1', 'GK2'] }, NotAction: 's3:GetObject' },
      Resource: `arn:aws:s3:::${Bucket}/secret/*`,
      Condition: { StringNotLike: { 'aws:Referer': 'https://example.org/*' } },
    }
    const before = { Version: '2012-10-17', Id: 'ours', Statement: [kept] }
    await client.send(new PutBucketPolicyCommand({ Bucket, Policy: JSON.stringify(before) }))
    await open('policy')
    await rule(1).getByText('NotPrincipal, which this rule has, stands in the document alone').waitFor()
    await addRule()
    await rule(2).getByLabel('write objects').check()
    const checks = setting().getByRole('list', { name: 'What to look at before saving' })
    await checks.getByText('Rule 2: anybody on the Internet may change or delete what is there.').waitFor()
    await rule(2).getByLabel('Who').selectOption('keys')
    await checks.getByText('Rule 2: it is about nobody').waitFor()
    await rule(2).getByLabel('Ids of access keys, one a line').fill('GK31c2f218a2e44f485b94239e')
    await rule(2).getByLabel('list objects').check()
    await checks
      .getByText(`Rule 2: s3:ListBucket is about the bucket itself: add ${Bucket} to the places.`)
      .waitFor()
    await rule(2).getByLabel('Places, one a line').fill(`${Bucket}/public/*\n${Bucket}`)
    await rule(2).getByLabel('Only from these addresses').fill('203.0.113.0/24')
    await checks.waitFor({ state: 'detached' })
    await setting()
      .getByText(
        'GK31c2f218a2e44f485b94239e may read objects, write objects, list objects in garden/public/*, garden',
      )
      .waitFor()
    expect(await support.violations(page)).toEqual([])
    await rule(2).scrollIntoViewIfNeeded()
    await support.picture(page, 'policy-form')
    await save()
    const { Policy } = await client.send(new GetBucketPolicyCommand({ Bucket }))
    expect(JSON.parse(Policy!)).toEqual({
      ...before,
      Statement: [
        kept,
        {
          Effect: 'Allow',
          Principal: { AWS: 'GK31c2f218a2e44f485b94239e' },
          Action: ['s3:GetObject', 's3:PutObject', 's3:ListBucket'],
          Resource: [`arn:aws:s3:::${Bucket}/public/*`, `arn:aws:s3:::${Bucket}`],
          Condition: { IpAddress: { 'aws:SourceIp': '203.0.113.0/24' } },
        },
      ],
    })
  })

  test('markup in any field is text: shown, stored or refused, and never run', async () => {
    await open('tagging')
    await setting().getByRole('button', { name: 'Add', exact: true }).click()
    await setting().getByLabel('Name 1').fill('</Key><Key>')
    await setting().getByLabel('Value 1').fill(HTML)
    await setting().getByRole('button', { name: 'Save' }).click()
    await setting().getByRole('alert').waitFor()
    expect(await setting().getByLabel('Value 1').inputValue()).toBe(HTML)
    await setting().getByLabel('Name 1').fill('colour')
    await setting().getByLabel('Value 1').fill('green and blue')
    await save()
    const { TagSet } = await client.send(new GetBucketTaggingCommand({ Bucket }))
    expect(TagSet).toEqual([{ Key: 'colour', Value: 'green and blue' }])

    await open('lifecycle')
    const prefix = `${HTML}]]></Prefix>&amp;`
    await rule(1).getByLabel('Only names that begin with').fill(prefix)
    await save()
    const { Rules } = await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket }))
    expect(Rules![0]!.Filter).toEqual({ Prefix: prefix })
    await page.reload()
    await rule(1).waitFor()
    expect(await rule(1).getByLabel('Only names that begin with').inputValue()).toBe(prefix)

    await open('policy')
    await setting().getByRole('button', { name: 'Document', exact: true }).click()
    const odd = {
      Effect: HTML,
      Principal: { [HTML]: HTML },
      Action: HTML,
      Resource: HTML,
      [HTML]: [null, { a: [1] }],
    }
    for (const text of [
      JSON.stringify({ Statement: odd }),
      JSON.stringify({ Statement: [odd, null, 3, HTML, [odd]] }),
      '{"__proto__":{"Statement":[]},"Statement":{"__proto__":1}}',
      'null',
      '3',
      `{"Statement": ${'['.repeat(2000)}${']'.repeat(2000)}}`,
      HTML,
    ]) {
      await setting().locator('textarea').fill(text)
      await setting().getByRole('button', { name: 'Form', exact: true }).click()
      await setting().getByRole('region', { name: 'The policy in plain words' }).waitFor()
      await setting().getByRole('button', { name: 'Document', exact: true }).click()
      expect(await setting().locator('textarea').inputValue()).toBe(text)
    }
    expect(await page.locator('img[src=x]').count()).toBe(0)
  })

  test('versions are locked, held, and let go again by those who may', async () => {
    const Key = `dir/${HTML} \u0007.txt`
    await client.send(new PutObjectCommand({ Bucket, Key, Body: 'first' }))
    await client.send(new PutObjectCommand({ Bucket, Key, Body: 'second' }))
    const { Versions } = await client.send(new ListObjectVersionsCommand({ Bucket }))
    const old = Versions!.find(({ IsLatest }) => !IsLatest)!.VersionId!
    const retention = async (VersionId?: string) =>
      (await client.send(new GetObjectRetentionCommand({ Bucket, Key, VersionId }))).Retention
    await page.goto(`${base}buckets/${Bucket}?in=dir/&object=${encodeURIComponent(Key)}&view=locks`)
    const dialog = page.getByRole('dialog')
    // The default of the bucket locked both.
    await dialog.getByText(/^GOVERNANCE, until/).waitFor()
    expect(await support.violations(page)).toEqual([])
    await support.picture(page, 'locks')
    await dialog.getByLabel('Hold this version').check()
    await expect
      .poll(async () => (await client.send(new GetObjectLegalHoldCommand({ Bucket, Key }))).LegalHold)
      .toEqual({ Status: 'ON' })
    await dialog.getByRole('tab', { name: 'Versions' }).click()
    await dialog.getByRole('row').last().getByRole('button', { name: 'Locks' }).click()
    await dialog.getByText(old).waitFor()
    await dialog.getByLabel('How it is locked').selectOption('')
    await dialog.getByRole('button', { name: 'Save' }).click()
    await dialog.getByRole('alert').waitFor()
    expect(await retention(old)).toMatchObject({ Mode: 'GOVERNANCE' })
    await dialog.getByLabel('Shorten or end it all the same').check()
    await dialog.getByRole('button', { name: 'Save' }).click()
    await dialog.getByRole('paragraph').filter({ hasText: 'Not locked' }).waitFor()
    await expect(retention(old)).rejects.toThrow()
    await dialog.getByLabel('How it is locked').selectOption('GOVERNANCE')
    await dialog.getByLabel('Locked until').fill('2999-01-31T12:00')
    await dialog.getByRole('button', { name: 'Save' }).click()
    await expect.poll(async () => (await retention(old))?.RetainUntilDate?.getUTCFullYear()).toBe(2999)
    await dialog.getByRole('tab', { name: 'Versions' }).click()
    const doomed = dialog.getByRole('row').last().getByRole('button', { name: 'Delete for good' })
    await doomed.click()
    await dialog.getByRole('alert').waitFor()
    await dialog.getByLabel('Delete versions although governance locks them').check()
    await doomed.click()
    await expect
      .poll(async () => (await client.send(new ListObjectVersionsCommand({ Bucket }))).Versions?.length)
      .toBe(1)
  })

  test('an administrator has the same forms', async () => {
    await page.goto(base)
    await page.getByRole('button', { name: 'Sign out' }).click()
    await support.signInWithToken(page, base, ADMIN_TOKEN)
    await open('cors')
    expect(await rule(1).getByLabel('Origins of web pages, one a line').inputValue()).toBe(
      'https://a.example\nhttps://b.example',
    )
    await rule(1).getByLabel('Seconds for which').fill('60')
    await save()
    const { CORSRules } = await client.send(new GetBucketCorsCommand({ Bucket }))
    expect(CORSRules).toMatchObject([{ MaxAgeSeconds: 60, AllowedMethods: ['GET', 'PUT'] }])
    await open('website')
    await setting().getByLabel('Page for errors').fill('error.html')
    await save()
    const site = await client.send(new GetBucketWebsiteCommand({ Bucket }))
    expect([site.ErrorDocument, site.RoutingRules?.length]).toEqual([{ Key: 'error.html' }, 1])
    await open('tagging')
    await setting().getByLabel('Value 1').fill('red')
    await save()
    const { TagSet } = await client.send(new GetBucketTaggingCommand({ Bucket }))
    expect(TagSet).toEqual([{ Key: 'colour', Value: 'red' }])
  })
})
