/**
 * Which code of the replicated layers no seed reached: reads what V8 counted (`NODE_V8_COVERAGE`) in the processes of
 * `npm run sim -- --coverage`, and maps it to the sources.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { SourceMap, type SourceMapPayload } from 'node:module'
import { join } from 'node:path'

/** What V8 tells of a function: a range inside of another one has the count of its own. */
export interface FunctionCoverage {
  functionName: string
  ranges: readonly { startOffset: number; endOffset: number; count: number }[]
}

interface ScriptCoverage {
  url: string
  functions: readonly FunctionCoverage[]
}

/** A piece of code that never ran. */
export interface Unreached {
  /** Offsets in the compiled text, the end exclusive. */
  start: number
  end: number
}

/** The pieces of a text that none of the runs reached; white space and brackets alone are none. */
export function unreachedOf(text: string, runs: readonly (readonly FunctionCoverage[])[]): Unreached[] {
  const reached = new Uint8Array(text.length)
  for (const functions of runs) {
    const counted = new Uint8Array(text.length)
    // Outer ranges come before inner ones, so that the innermost decides.
    const ranges = functions
      .flatMap((each) => each.ranges)
      .sort((a, b) => a.startOffset - b.startOffset || b.endOffset - a.endOffset)
    for (const { startOffset, endOffset, count } of ranges)
      counted.fill(count > 0 ? 1 : 0, startOffset, endOffset)
    for (let at = 0; at < counted.length; at++) reached[at]! |= counted[at]!
  }
  const pieces: Unreached[] = []
  for (let at = 0; at < text.length; ) {
    const start = at
    const isReached = reached[at]!
    while (at < text.length && reached[at] === isReached) at++
    if (!isReached && /\w/.test(text.slice(start, at))) pieces.push({ start, end: at })
  }
  return pieces
}

const LAYERS = ['table', 'block', 'cluster', 'model']

/** A report as Markdown: how much of each file was reached, and the first line of each piece that was not. */
export function report(coverageFolder: string, compiledFolder: string, sourceFolder: string): string {
  const runs = new Map<string, FunctionCoverage[][]>()
  for (const name of readdirSync(coverageFolder)) {
    const { result } = JSON.parse(readFileSync(join(coverageFolder, name), 'utf8')) as {
      result: ScriptCoverage[]
    }
    for (const { url, functions } of result) {
      const of = runs.get(url) ?? []
      runs.set(url, of)
      of.push([...functions])
    }
  }
  const table = ['| File | Reached | Pieces that were not |', '|---|--:|--:|']
  const details: string[] = []
  for (const layer of LAYERS) {
    const files = readdirSync(join(compiledFolder, layer), { recursive: true, encoding: 'utf8' })
    for (const file of files.filter((each) => each.endsWith('.js')).sort()) {
      const path = join(compiledFolder, layer, file)
      const text = readFileSync(path, 'utf8')
      const pieces = unreachedOf(text, runs.get(`file://${path}`) ?? [])
      const missed = pieces.reduce((sum, { start, end }) => sum + end - start, 0)
      const source = join('src', layer, file.replace(/\.js$/, '.ts'))
      const share = Math.floor((1 - missed / Math.max(1, text.length)) * 100)
      table.push(`| ${source} | ${share} % | ${pieces.length} |`)
      if (pieces.length === 0) continue
      const lines = linesOf(path, text, pieces)
      const written = readFileSync(join(sourceFolder, layer, file.replace(/\.js$/, '.ts')), 'utf8').split(
        '\n',
      )
      details.push('', `### ${source}`, '')
      for (const line of lines)
        details.push(`- ${line}: \`${written[line - 1]?.trim().replaceAll('`', "'")}\``)
    }
  }
  return ['# Code that no seed reached', '', ...table, ...details, ''].join('\n')
}

/** The lines of the source in which the pieces begin, each once. */
function linesOf(path: string, text: string, pieces: readonly Unreached[]): number[] {
  const map = new SourceMap(JSON.parse(readFileSync(`${path}.map`, 'utf8')) as SourceMapPayload)
  const lines = new Set<number>()
  for (const { start, end } of pieces) {
    const first = start + text.slice(start, end).search(/\w/)
    const before = text.slice(0, first)
    const line = before.split('\n').length - 1
    const entry = map.findEntry(line, first - before.lastIndexOf('\n') - 1)
    if ('originalLine' in entry) lines.add(entry.originalLine + 1)
  }
  return [...lines].sort((a, b) => a - b)
}
