import type { Command } from 'commander'
import { type Context, leaf } from '../command-line.js'
import { runDoctor } from '../commands/doctor.js'

/** `doctor`. */
export function registerDoctorVerbs(program: Command, context: Context): void {
  leaf(program, 'doctor', 'look for everything that is wrong with this node and the cluster').action(
    context.local<[object]>((io, flags) => runDoctor(io, flags)),
  )
}
