import { Command } from 'commander'
import {
  Context,
  completeCommands,
  helpByHostOption,
  type RunOnNode,
  SECRET_OPTIONS,
  SHARED_OPTIONS,
} from './command-line.js'
import type { CliIo } from './io.js'
import { registerAdminTokenVerbs } from './verbs/admin-token.js'
import { registerApiVerbs } from './verbs/api.js'
import { registerBucketVerbs } from './verbs/bucket.js'
import { registerDoctorVerbs } from './verbs/doctor.js'
import { registerKeyVerbs } from './verbs/key.js'
import { registerLayoutVerbs } from './verbs/layout.js'
import { registerLayoutPlanVerbs } from './verbs/layout-plan.js'
import { registerMaintenanceVerbs } from './verbs/maintenance.js'
import { registerMigrateVerbs } from './verbs/migrate.js'
import { registerNodeVerbs } from './verbs/node.js'
import { registerOfflineVerbs } from './verbs/offline.js'
import { registerShellVerbs } from './verbs/shell.js'
import { registerTopVerbs } from './verbs/top.js'

/** Each family of commands adds its own verbs to the program, in the order of the help. */
const FAMILIES: readonly ((program: Command, context: Context) => void)[] = [
  registerNodeVerbs,
  registerLayoutVerbs,
  registerLayoutPlanVerbs,
  registerBucketVerbs,
  registerKeyVerbs,
  registerAdminTokenVerbs,
  registerMaintenanceVerbs,
  registerOfflineVerbs,
  registerMigrateVerbs,
  registerApiVerbs,
  registerShellVerbs,
  registerDoctorVerbs,
  registerTopVerbs,
]

/** The command line as a whole, with Garage's verbs and flags. */
export function buildProgram(io: CliIo, runOnNode: RunOnNode): Command {
  const program = new Command('carport')
    .description('Geo-distributed object store for people who host their own data')
    // -h names a host, as in Garage.
    .helpOption('--help', 'show this help')
    .helpCommand('help [command]', 'show help of a command')
    .version(io.version(), '-V, --version', 'show the version')
    .enablePositionalOptions()
    .exitOverride()
  for (const [flags, description] of [...SHARED_OPTIONS, ...SECRET_OPTIONS])
    program.option(flags, description)
  const context = new Context(io, runOnNode)
  for (const register of FAMILIES) register(program, context)
  helpByHostOption(program)
  completeCommands(program, io.version())
  return program
}
