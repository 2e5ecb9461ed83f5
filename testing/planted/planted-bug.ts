import type { Plugin } from 'vitest/config'
import type { ScenarioKind } from '../sim-profile.js'

/** One place where a bug changes the source: `find` occurs there exactly once. */
export interface Edit {
  /** Path of the file, from the root of the repository. */
  file: string
  find: string
  replace: string
}

/** How a bug is looked for; each hunt tries seed after seed. */
export type HuntKind = ScenarioKind

/**
 * A bug that is put into the store on purpose, to show that the simulator finds it. The source is changed while a test
 * loads it: nothing of this is in the package, and the store has no switch for it.
 */
export interface PlantedBug {
  name: string
  /** The promise that it breaks, in words of a user or an operator. */
  breaks: string
  edits: readonly Edit[]
  /** The kinds of runs that are tried in turns. */
  hunts: readonly HuntKind[]
}

/** The source of a file with the bug in it. @throws Error if the place of an edit is not found exactly once */
export function plantInto(bug: PlantedBug, file: string, source: string): string {
  let changed = source
  for (const edit of bug.edits) {
    if (edit.file !== file) continue
    const found = changed.split(edit.find).length - 1
    if (found !== 1) throw new Error(`${bug.name}: its place in ${file} is found ${found} times`)
    changed = changed.replace(edit.find, () => edit.replace)
  }
  return changed
}

/** Plants a bug into the modules that a test run loads. */
export function plant(bug: PlantedBug): Plugin {
  const root = `${process.cwd()}/`
  return {
    name: `planted: ${bug.name}`,
    enforce: 'pre',
    transform(code, id) {
      const path = id.split('?')[0]!
      if (!path.startsWith(root)) return undefined
      const planted = plantInto(bug, path.slice(root.length), code)
      return planted === code ? undefined : { code: planted, map: null }
    },
  }
}
