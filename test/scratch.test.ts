import { CreateBucketCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { test } from 'vitest'
import * as support from './support/console-browser.js'
import { startTestNode } from './support/test-node.js'

test('x', async () => {
  const node = await startTestNode({ secrets: { adminToken: 't' } })
  const key = await node.createKey('k')
  const client = node.client(key)
  await client.send(new CreateBucketCommand({ Bucket: 'shared' }))
  await client.send(new PutObjectCommand({ Bucket: 'shared', Key: 'folder/one.txt', Body: 'one' }))
  const base = `http://127.0.0.1:${node.adminApi!.port}/console/`
  const b = await support.openBrowser()
  b.page.setDefaultTimeout(4000)
  b.page.on('console', (m) => console.log('CONSOLE', m.text()))
  b.page.on('pageerror', (m) => console.log('ERR', m.message, m.stack))
  try {
    await support.signInWithKey(b.page, base, key)
    await b.page.goto(`${base}buckets/shared/folder/`)
    await b.page.waitForTimeout(1500)
    await b.page.screenshot({ path: '/tmp/shots/x.png' })
    console.log(await b.page.content())
  } finally {
    await b.close()
    await node.dispose()
  }
}, 60000)
