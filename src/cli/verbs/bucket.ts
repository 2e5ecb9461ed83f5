import type { Command } from 'commander'
import { type Context, group, leaf } from '../command-line.js'
import * as bucket from '../commands/bucket.js'
import type { ShadowOptions } from '../commands/shadow.js'

/** `bucket` and its verbs. */
export function registerBucketVerbs(program: Command, context: Context): void {
  const parent = group(program, 'bucket', 'buckets, their names, permissions and limits')
  type Permissions = { key: string; read?: boolean; write?: boolean; owner?: boolean }
  leaf(parent, 'list', 'list buckets').action(context.remote<[object]>((admin) => bucket.listBuckets(admin)))
  leaf(parent, 'info <bucket>', 'show a bucket, given by name or by the first digits of its id').action(
    context.remote<[string, object]>((admin, name) => bucket.bucketInfo(admin, name)),
  )
  leaf(parent, 'create <name>', 'create a bucket').action(
    context.remote<[string, object]>((admin, name) => bucket.createBucket(admin, name)),
  )
  leaf(parent, 'delete <bucket>', 'delete an empty bucket', [['--yes', 'confirm']]).action(
    context.remote<[string, { yes?: boolean }]>((admin, name, { yes }) =>
      bucket.deleteBucket(admin, name, yes),
    ),
  )
  leaf(parent, 'alias <bucket> <name>', 'give a bucket one more name', [
    ['--local <key>', 'a name for this access key alone'],
  ]).action(
    context.remote<[string, string, { local?: string }]>((admin, existing, name, { local }) =>
      bucket.aliasBucket(admin, existing, name, local),
    ),
  )
  leaf(parent, 'unalias <name>', 'take a name from a bucket', [
    ['--local <key>', 'a name that this access key alone uses'],
  ]).action(
    context.remote<[string, { local?: string }]>((admin, name, { local }) =>
      bucket.unaliasBucket(admin, name, local),
    ),
  )
  for (const verb of ['allow', 'deny'] as const) {
    leaf(parent, `${verb} <bucket>`, `${verb} an access key to use a bucket`, [
      ['--read', 'reading objects and lists'],
      ['--write', 'writing and deleting objects'],
      ['--owner', 'changing the bucket itself'],
    ])
      .requiredOption('--key <key>', 'name or id of the access key')
      .action(
        context.remote<[string, Permissions]>((admin, name, { key: pattern, read, write, owner }) =>
          bucket.changePermissions(admin, `bucket.${verb}Key`, name, pattern, {
            ...(read && { read }),
            ...(write && { write }),
            ...(owner && { owner }),
          }),
        ),
      )
  }
  leaf(parent, 'website <bucket>', 'serve a bucket as a web site, or not', [
    ['--allow', 'serve it'],
    ['--deny', 'do not'],
    ['-e, --error-document <key>', 'object to show when there is no such page'],
    ['--consistency-mode <mode>', 'degraded: pages from any one replica, also old ones; else consistent'],
  ])
    .option('-i, --index-document <name>', 'name of the page of a folder', 'index.html')
    .action(
      context.remote<[string, bucket.WebsiteOptions]>((admin, name, options) =>
        bucket.setWebsite(admin, name, options),
      ),
    )
  leaf(parent, 'relax <bucket>', 'take in a bucket what Garage takes beyond the rules of S3', [
    ['--off', "hold S3's rules again, for what is written from now on"],
  ]).action(
    context.remote<[string, { off?: true }]>((admin, name, { off }) => bucket.relaxBucket(admin, name, !off)),
  )
  leaf(parent, 'shadow <bucket>', 'read through to another store for what a bucket does not have yet', [
    ['--region <region>', "the other store's region (us-east-1)"],
    ['--from <bucket>', 'name of the bucket there, unless it is the same'],
    ['--prefix <prefix>', 'what the keys there begin with, before those of this bucket'],
    ['--off', 'end that: what was not read meanwhile is not here'],
  ])
    .argument('[source]', 'address of its S3 endpoint; shows the setting without it')
    .action(
      context.live<[string, string | undefined, ShadowOptions]>(
        async (admin, io, _, name, source, options) => {
          const { shadowBucket } = await import('../commands/shadow.js')
          return shadowBucket(admin, io, name, source, options)
        },
      ),
    )
  leaf(parent, 'set-quotas <bucket>', 'limit a bucket', [
    ['--max-size <size>', 'most bytes, such as 10GiB, or none'],
    ['--max-objects <number>', 'most objects, or none'],
  ]).action(
    context.remote<[string, { maxSize?: string; maxObjects?: string }]>((admin, name, options) =>
      bucket.setQuotas(admin, name, options),
    ),
  )
  leaf(parent, 'cleanup-incomplete-uploads <bucket...>', 'abort multipart uploads that were not completed')
    .option('--older-than <duration>', 'only those that began this long ago', '1d')
    .action(
      context.remote<[string[], { olderThan: string }]>((admin, names, { olderThan }) =>
        bucket.cleanupUploads(admin, names, olderThan),
      ),
    )
  leaf(parent, 'inspect-object <bucket> <key>', 'show the versions and blocks of an object').action(
    context.remote<[string, string, object]>((admin, name, object) =>
      bucket.inspectObject(admin, name, object),
    ),
  )
}
