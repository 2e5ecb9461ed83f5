import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

/** Modules that do something when they are loaded: the program, and those that run in threads of their own. */
const RUNS = /(^|\/)(main|hash-worker)\.js$/

/**
 * Vitest compiles sources by itself, so that it does not show what tsc makes of them: a static field that makes its own class
 * was once compiled to run before the class had its name, and no node started.
 */
test('every module of the compiled program can be loaded', () => {
  const folder = join(import.meta.dirname, '../dist/src')
  const modules = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.js') && !RUNS.test(file))
    .filter((file) => existsSync(join(import.meta.dirname, '../src', file.replace(/js$/, 'ts'))))
    .sort()
  expect(modules.length).toBeGreaterThan(400)
  const script = `
    const failed = []
    const load = (file) =>
      import(${JSON.stringify(`file://${folder}/`)} + file).catch((error) => failed.push(file + ': ' + error))
    await Promise.all(${JSON.stringify(modules)}.map(load))
    console.log(JSON.stringify(failed))
    process.exit()
  `
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  expect(JSON.parse(out)).toEqual([])
})
