import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { S3Context } from '../src/api/s3/context.js'
import { s3Handlers } from '../src/api/s3/handlers.js'
import { S3_OPERATIONS } from '../src/api/s3/operations.js'

const page = readFileSync(join(import.meta.dirname, '../docs/s3-compatibility.md'), 'utf8')

test('the page on S3 has a row for each operation, and refuses what the table of handlers refuses', () => {
  const rows = [...page.matchAll(/^\| (\w+) \| (done|partly|refused) \|/gm)].map(([, name, how]) => [
    name!,
    how!,
  ])
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

test('every link between the pages leads somewhere', () => {
  const docs = join(import.meta.dirname, '../docs')
  const pages = ['../README.md', '../CHANGELOG.md', 'design.md', 's3-compatibility.md', 'operations.md']
  for (const name of [...pages, 'cluster-in-five-minutes.md', 'configuration.md']) {
    const file = join(docs, name)
    const links = [...readFileSync(file, 'utf8').matchAll(/\]\(([^)#:]+)(#[^)]*)?\)/g)]
    for (const [, target] of links) {
      expect(() => readFileSync(join(file, '..', target!)), `${name} → ${target}`).not.toThrow()
    }
  }
})
