import { BLOCK_BUGS } from './block-bugs.js'
import { CONDITIONAL_BUGS } from './conditional-bugs.js'
import { CONTROL_BUGS } from './control-bugs.js'
import { LAYOUT_BUGS } from './layout-bugs.js'
import { MODEL_BUGS } from './model-bugs.js'
import { OBJECT_BUGS } from './object-bugs.js'
import type { PlantedBug } from './planted-bug.js'
import { TABLE_BUGS } from './table-bugs.js'

export const PLANTED_BUGS: readonly PlantedBug[] = [
  ...TABLE_BUGS,
  ...BLOCK_BUGS,
  ...LAYOUT_BUGS,
  ...MODEL_BUGS,
  ...CONDITIONAL_BUGS,
  ...CONTROL_BUGS,
  ...OBJECT_BUGS,
]

/** @throws Error if no bug has that name */
export function plantedBug(name: string): PlantedBug {
  const bug = PLANTED_BUGS.find((each) => each.name === name)
  if (!bug) throw new Error(`there is no planted bug "${name}"`)
  return bug
}
