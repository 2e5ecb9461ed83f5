import type { Command } from 'commander'
import { type Context, group, leaf } from '../command-line.js'
import * as key from '../commands/key.js'
import type { ExpiryFlags } from '../expiry.js'

/** `key` and its verbs. */
export function registerKeyVerbs(program: Command, context: Context): void {
  const parent = group(program, 'key', 'access keys')
  type Create = { createBucket?: boolean }
  leaf(parent, 'list', 'list access keys').action(context.remote<[object]>((admin) => key.listKeys(admin)))
  leaf(parent, 'info <key>', 'show an access key, given by name or by the first digits of its id', [
    ['--show-secret', 'show the secret key too'],
    ['--key-id', 'print the id of the key alone'],
    ['--secret-key', 'print the secret key alone'],
  ]).action(
    context.remote<[string, key.KeyInfoOptions]>((admin, pattern, options) =>
      key.keyInfo(admin, pattern, options),
    ),
  )
  leaf(parent, 'create', 'create an access key', [
    ['--expires-in <duration>', 'how long it is valid, such as 30d'],
  ])
    .argument('[name]', 'name for people', 'Unnamed key')
    .action(
      context.remote<[string, { expiresIn?: string }]>((admin, name, { expiresIn }) =>
        key.createKey(admin, name, expiresIn, context.nowMs()),
      ),
    )
  leaf(parent, 'rename <key> <name>', 'rename an access key').action(
    context.remote<[string, string, object]>((admin, pattern, name) => key.renameKey(admin, pattern, name)),
  )
  leaf(parent, 'delete <key>', 'delete an access key', [['--yes', 'confirm']]).action(
    context.remote<[string, { yes?: boolean }]>((admin, pattern, { yes }) =>
      key.deleteKey(admin, pattern, yes),
    ),
  )
  for (const verb of ['allow', 'deny'] as const) {
    leaf(parent, `${verb} <key>`, `${verb} what an access key may do beyond buckets`, [
      ['--create-bucket', 'creating buckets'],
    ]).action(
      context.remote<[string, Create]>((admin, pattern, { createBucket }) =>
        key.changeKeyPermissions(admin, verb, pattern, createBucket),
      ),
    )
  }
  leaf(parent, 'import <id> <secret>', 'take over an access key from elsewhere', [['--yes', 'confirm']])
    .option('-n, --name <name>', 'name for people', 'Imported key')
    .action(
      context.remote<[string, string, { name: string; yes?: boolean }]>((admin, id, secret, { name, yes }) =>
        key.importKey(admin, id, secret, name, yes),
      ),
    )
  leaf(parent, 'set <key>', 'set how long an access key is valid', [
    ['--expires-in <duration>', 'from now, such as 30d'],
    ['--never-expires', 'without end'],
  ]).action(
    context.remote<[string, ExpiryFlags]>((admin, pattern, options) =>
      key.setKey(admin, pattern, options, context.nowMs()),
    ),
  )
  leaf(parent, 'delete-expired', 'delete all access keys that have expired', [['--yes', 'confirm']]).action(
    context.remote<[{ yes?: boolean }]>((admin, { yes }) => key.deleteExpiredKeys(admin, yes)),
  )
  leaf(parent, 'export-env <key>', 'print an access key as variables of the environment')
    .option('--prefix <prefix>', 'of the names of the variables', 'AWS_')
    .action(
      context.remote<[string, { prefix: string }]>((admin, pattern, { prefix }) =>
        key.exportEnv(admin, pattern, prefix),
      ),
    )
}
