import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** The folder of the built console: beside the program, or in dist/ when its sources run. */
export function consoleFolder(): string {
  const beside = join(import.meta.dirname, '../../console')
  return existsSync(join(beside, 'index.html')) ? beside : join(import.meta.dirname, '../../dist/console')
}

/** Reads a file of the built console. A module of its own, since a program in one file has them inside. */
export function readConsoleFile(path: string): Promise<Buffer | undefined> {
  return readFile(join(consoleFolder(), path)).catch(() => undefined)
}
