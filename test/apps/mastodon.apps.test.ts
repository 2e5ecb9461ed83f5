/** Mastodon's media, by the calls that it makes of the AWS SDK for Ruby, which Debian has; Mastodon itself it has not. */
import { join } from 'node:path'
import { PutBucketPolicyCommand } from '@aws-sdk/client-s3'
import { expect, test } from 'vitest'
import { fromApt, installed, packageOfApt } from './kit/programs.js'
import { must } from './kit/run.js'
import { application, type Home } from './kit/store.js'

const ruby = await installed(async () => {
  const program = await fromApt('ruby')
  await packageOfApt('ruby-aws-sdk-s3')
  return program
})

application('Mastodon', ruby, ({ tools: program, nodes, store }) => {
  const run = ({ endpoint, region, bucket, env }: Home, permission: string) => {
    const script = join(import.meta.dirname, 'ruby/mastodon.rb')
    return must(program, [script, endpoint, region, bucket, permission], { env })
  }

  test('media are public one by one, by their access control list', async () => {
    expect(await run(await store().home('mastodon'), 'public-read')).toBe('done\n')
  })

  test('media are public by the policy of the bucket', async () => {
    const home = await store().home('mastodon')
    const owner = await store().keyFor(home.bucket, { read: true, write: true, owner: true })
    const Statement = {
      Effect: 'Allow',
      Principal: '*',
      Action: 's3:GetObject',
      Resource: `arn:aws:s3:::${home.bucket}/*`,
    }
    const Policy = JSON.stringify({ Version: '2012-10-17', Statement: [Statement] })
    await owner.s3.send(new PutBucketPolicyCommand({ Bucket: home.bucket, Policy }))
    expect(await run(home, '')).toBe('done\n')
  })

  test.runIf(nodes === 3)('works while a node is down', async () => {
    const home = await store().home('mastodon')
    await store().loseNode()
    expect(await run(home, 'public-read')).toBe('done\n')
    await store().restoreNode()
  })
})
