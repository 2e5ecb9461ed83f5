import type { Command } from 'commander'
import { type Context, group, leaf } from '../command-line.js'
import * as token from '../commands/admin-token.js'
import type { ExpiryFlags } from '../expiry.js'

/** `admin-token` and its verbs. */
export function registerAdminTokenVerbs(program: Command, context: Context): void {
  const parent = group(program, 'admin-token', 'tokens of the admin API')
  const yes: [string, string] = ['--yes', 'confirm']
  const expiresIn: [string, string] = ['--expires-in <duration>', 'how long it is valid, such as 30d']
  leaf(parent, 'list', 'list tokens, those of the configuration too').action(
    context.remote<[object]>((admin) => token.listTokens(admin)),
  )
  leaf(parent, 'info <token>', 'show a token, given by name or by the first digits of its id').action(
    context.remote<[string, object]>((admin, pattern) => token.tokenInfo(admin, pattern)),
  )
  leaf(parent, 'create [name]', 'make a token', [
    expiresIn,
    ['--scope <endpoints>', 'what it may do: names of endpoints with commas between; "*", all, unless told'],
    ['-q, --quiet', 'print the token alone'],
  ]).action(
    context.remote<[string | undefined, token.CreateTokenOptions]>((admin, name, options) =>
      token.createToken(admin, name, options, context.nowMs()),
    ),
  )
  leaf(parent, 'rename <token> <name>', 'rename a token').action(
    context.remote<[string, string, object]>((admin, pattern, name) =>
      token.renameToken(admin, pattern, name),
    ),
  )
  leaf(parent, 'set <token>', 'set what a token may do, and how long', [
    expiresIn,
    ['--never-expires', 'without end'],
    ['--scope <endpoints>', 'names of endpoints, or "*"; =+A,B adds some, =-A,B takes some'],
  ]).action(
    context.remote<[string, ExpiryFlags & { scope?: string }]>((admin, pattern, options) =>
      token.setToken(admin, pattern, options, context.nowMs()),
    ),
  )
  leaf(parent, 'delete <token>', 'delete a token', [yes]).action(
    context.remote<[string, { yes?: boolean }]>((admin, pattern, options) =>
      token.deleteToken(admin, pattern, options.yes),
    ),
  )
  leaf(parent, 'delete-expired', 'delete all tokens that have expired', [yes]).action(
    context.remote<[{ yes?: boolean }]>((admin, options) => token.deleteExpiredTokens(admin, options.yes)),
  )
}
