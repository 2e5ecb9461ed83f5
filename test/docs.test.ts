import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { S3Context } from '../src/api/s3/context.js'
import { s3Handlers } from '../src/api/s3/handlers.js'
import { S3_OPERATIONS } from '../src/api/s3/operations.js'

const root = join(import.meta.dirname, '..')
const below = (folder: string) =>
  (readdirSync(join(root, folder), { recursive: true }) as string[]).map((name) => `${folder}/${name}`)
const pages = [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'deploy/README.md',
  ...below('docs'),
].filter((name) => name.endsWith('.md'))
const read = (name: string) => readFileSync(join(root, name), 'utf8')

test('the page on S3 has a row for each operation, and refuses what the table of handlers refuses', () => {
  const rows = [...read('docs/s3-compatibility.md').matchAll(/^\| (\w+) \| (done|partly|refused) \|/gm)].map(
    ([, name, how]) => [name!, how!],
  )
  expect(rows.map(([name]) => name).sort()).toEqual([...S3_OPERATIONS].sort())
  // The table of handlers can be looked at without a node.
  const handlers = s3Handlers({} as S3Context)
  expect(
    rows
      .filter(([, how]) => how === 'refused')
      .map(([name]) => name)
      .sort(),
  ).toEqual(S3_OPERATIONS.filter((name) => handlers[name] === 'NotImplemented').sort())
})

test.each(pages)('every link in %s leads somewhere', (name) => {
  for (const [, target, heading] of read(name).matchAll(/\]\(([^)#:]*)(?:#([^)]*))?\)/g)) {
    const file = target === '' ? name : join(name, '..', target!)
    expect(existsSync(join(root, file)), `${name} → ${target}`).toBe(true)
    if (heading === undefined) continue
    const headings = [...read(file).matchAll(/^#+ (.*)$/gm)].map(([, text]) => text!.toLowerCase())
    const anchors = headings.map((text) => text.replace(/[^\w\s-]/g, '').replace(/\s/g, '-'))
    expect(anchors, `${name} → ${target}#${heading}`).toContain(heading)
  }
})

test('every source and folder that the design, its decisions and the guides name is there', () => {
  const files = ['src', 'testing', 'test', 'bench', 'docs'].flatMap(below)
  const named = pages
    .filter((name) => /design|decisions|README|CONTRIBUTING/.test(name))
    .flatMap((name) => [
      ...read(name).matchAll(/`([\w-]+(?:\/[\w.-]+)*(?:\.ts|\/))`|`((?:src|testing|test)\/[\w./-]+)`/g),
    ])
    .map(([, relative, whole]) => (relative ?? whole!).replace(/\/$/, ''))
    .filter((path) => !['docs', 'test', 'testing', 'src', 'bench'].includes(path))
  expect(named.length).toBeGreaterThan(40)
  const missing = named.filter((path) => !files.some((file) => file === path || file.endsWith(`/${path}`)))
  expect(missing).toEqual([])
})

test('every source that a comment names is there', () => {
  const configs = readdirSync(root)
  const sources = [...['src', 'testing', 'test', 'bench'].flatMap(below), ...configs].filter((name) =>
    name.endsWith('.ts'),
  )
  const missing = sources.flatMap((name) => {
    const comments = read(name).match(/^\s*(\/?\*|\/\/).*$/gm) ?? []
    const named = comments.flatMap((line) => line.match(/(?<![\w.-])[\w-]+(\/[\w-]+)*(\.\w+)*\.ts\b/g) ?? [])
    return named.filter((path) => !sources.some((file) => file.endsWith(`/${path}`) || file === path))
  })
  expect(missing).toEqual([])
})

test('each decision tells its context and what was rejected, and the design and the index lead to it', () => {
  const decisions = readdirSync(join(root, 'docs/decisions')).filter((name) => name !== 'README.md')
  const index = read('docs/decisions/README.md')
  const design = read('docs/design.md')
  for (const name of decisions) {
    const text = read(`docs/decisions/${name}`)
    const headings = [...text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading)
    expect(headings, name).toEqual(['Context', 'Decision', 'Consequences', 'Rejected'])
    const [, number, title] = /^# (\d+)\. (.+)$/m.exec(text)!
    expect(name).toMatch(new RegExp(`^${number!.padStart(2, '0')}-`))
    expect(index).toContain(`| ${number} | [${title}](${name}) |`)
    expect(design).toContain(`(decisions/${name})`)
  }
})
