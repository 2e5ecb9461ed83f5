import type { RepairType, ScrubCommand } from '../../api/admin/operation-schemas.js'
import { type AdminClient, CliError, type Output, UsageError } from '../admin-client.js'
import type { GlobalFlags } from '../config-source.js'
import { shortId } from '../format.js'
import { nodeSelector } from '../lookup.js'
import { perNode } from '../per-node.js'
import { type FollowIo, follow } from '../progress/follow.js'
import { stateLine } from '../progress/lines.js'
import { REPAIRS, type Task, taskNameOf, tasksOfNodes, tasksOfWorkers } from '../progress/tasks.js'

const GOES_ON = 'Ctrl-C ends this view; the work goes on. "carport worker watch" shows it again.'

/** Garage repairs its table of versions by this. */
const NO_VERSIONS: Output = {
  json: { success: {}, error: {} },
  text:
    'There is nothing to repair in versions: they are kept in the rows of their objects. "repair tables" compares these with ' +
    'the other nodes, "repair block-refs" the references to blocks.',
}
export const SCRUB_COMMANDS: readonly ScrubCommand[] = ['start', 'pause', 'resume', 'cancel']

export interface RepairOptions {
  allNodes?: boolean
  yes?: boolean
  /** Whether to wait for the end and show how far it is; unless told, on a terminal alone. */
  wait?: boolean
}

/** `repair`. */
export async function repair(
  admin: AdminClient,
  io: FollowIo,
  flags: GlobalFlags,
  [what, scrub]: [what: string, scrub: string | undefined],
  { allNodes, yes, wait }: RepairOptions,
): Promise<Output> {
  const repairType = repairTypeOf(what, scrub)
  if (!yes) throw new UsageError('this starts work on the stored data: confirm with --yes')
  if (repairType === 'versions') return NO_VERSIONS
  const node = nodeSelector(allNodes)
  const response = await admin.call('repair.launch', { node, repairType })
  const launched = perNode(response, (id) => [[shortId(id), 'Repair launched']])
  const isWork = scrub === undefined || scrub === 'start' || scrub === 'resume'
  if (!isWork || !(wait ?? (io.terminal !== undefined && !flags.json))) return launched
  if (io.terminal) io.err(GOES_ON)
  const name = taskNameOf(repairType)
  const nodes = Object.keys(response.success)
  return ended(admin, io, node, (tasks) =>
    tasks.filter((task) => task.name === name && nodes.includes(task.node)),
  )
}

/** `worker watch`: everything that is under way, on this node or on all. */
export function watchWork(admin: AdminClient, io: FollowIo, allNodes: boolean | undefined): Promise<Output> {
  if (io.terminal) io.err(GOES_ON)
  const shown = new Set<string>()
  return ended(admin, io, nodeSelector(allNodes), (tasks) =>
    // What ended before is no news.
    tasks.filter(({ node, name, state }) => {
      if (state === 'running') shown.add(`${node} ${name}`)
      return shown.has(`${node} ${name}`)
    }),
  )
}

/** Follows the chosen tasks to their end. @throws CliError if one failed */
async function ended(
  admin: AdminClient,
  io: FollowIo,
  node: string,
  choose: (tasks: Task[]) => Task[],
): Promise<Output> {
  const last = await follow(io, async () => {
    const workers = await admin.call('worker.list', { node })
    const { nodes } = await admin.call('status', {})
    const asked = new Set(Object.keys(workers.success))
    const syncing = tasksOfNodes(nodes.filter(({ id }) => asked.has(id)))
    return choose([...tasksOfWorkers(workers), ...syncing])
  })
  const text = last.length === 0 ? 'No long work is under way.' : last.map(stateLine).join('\n')
  const output: Output = { json: last, text: io.terminal && last.length > 0 ? '' : text }
  const failed = last.filter(({ state }) => state === 'failed')
  if (failed.length === 0) return output.text === '' ? { ...output, text: 'Finished.' } : output
  throw new CliError(
    `${failed[0]!.name} failed on ${failed.length} of ${last.length} nodes, see above`,
    output,
  )
}

function repairTypeOf(what: string, scrub: string | undefined): RepairType {
  if (what === 'scrub') {
    const command = SCRUB_COMMANDS.find((c) => c === scrub)
    if (command !== undefined) return { scrub: command }
    throw new UsageError(`scrub needs one of: ${SCRUB_COMMANDS.join(', ')}`)
  }
  if (!Object.hasOwn(REPAIRS, what) || scrub !== undefined) {
    throw new UsageError(
      `"${scrub ?? what}" is no repair, expected one of: ${Object.keys(REPAIRS).join(', ')}, scrub`,
    )
  }
  return REPAIRS[what]!
}
