import type {
  BucketInfo,
  ClusterLayout,
  ClusterStatus,
  KeyInfo,
  MultiResponse,
  NodeAssignedRole,
} from '../api/admin/types.js'
import { type AdminClient, CliError, UsageError } from './admin-client.js'
import { shortId } from './format.js'

/** The node that the command talks to, or all of them. */
export function nodeSelector(all: boolean | undefined): string {
  return all ? '*' : 'self'
}

/**
 * Finds the node whose id begins with a prefix, among all nodes that were seen or have a role.
 * @throws CliError
 */
export function findNode(status: ClusterStatus, layout: ClusterLayout, pattern: string): string {
  const prefix = pattern.toLowerCase().replace(/@.*$/, '')
  if (!/^[0-9a-f]{1,64}$/.test(prefix)) {
    throw new UsageError(`"${pattern}" is no node id: give its first digits, as "carport status" shows them`)
  }
  const ids = new Set([...status.nodes, ...layout.roles, ...layout.stagedRoleChanges].map((node) => node.id))
  const matching = [...ids].filter((id) => id.startsWith(prefix)).sort()
  if (matching.length === 0) {
    throw new CliError(
      `no node's id starts with "${pattern}": "carport status" shows the nodes that are known`,
    )
  }
  if (matching.length > 1) {
    const some = matching.slice(0, 3).map(shortId).join(', ')
    throw new CliError(`${matching.length} nodes' ids start with "${pattern}" (${some}): give more digits`)
  }
  return matching[0]!
}

/** The role a node would have if the staged changes were applied now; undefined without one. */
export function stagedOrCurrentRole(layout: ClusterLayout, id: string): NodeAssignedRole | undefined {
  const change = layout.stagedRoleChanges.find((staged) => staged.id === id)
  if (change !== undefined) return 'remove' in change ? undefined : change
  return layout.roles.find((role) => role.id === id)
}

/** Finds the bucket of a global alias, an id or a prefix of one. */
export function findBucket(admin: AdminClient, pattern: string): Promise<BucketInfo> {
  return admin.call('bucket.info', { search: pattern })
}

/** Finds the key of a name, an id or a prefix of one. */
export function findKey(admin: AdminClient, pattern: string): Promise<KeyInfo> {
  return admin.call('key.info', { search: pattern, showSecretKey: false })
}

/**
 * The answer of the one node that was asked.
 * @throws CliError with that node's error.
 */
export function onlyAnswer<T>(response: MultiResponse<T>): T {
  const error = Object.values(response.error)[0]
  if (error !== undefined) throw new CliError(error)
  const answers = Object.values(response.success)
  if (answers.length !== 1) throw new CliError(`${answers.length} nodes answered where one was asked`)
  return answers[0]!
}
