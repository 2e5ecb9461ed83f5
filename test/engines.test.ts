/** The versions of Node.js that the package promises are those that all packages that it installs work with. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

interface LockedPackage {
  engines?: { node?: string }
}

const ROOT = join(import.meta.dirname, '..')
const readJson = (name: string) => JSON.parse(readFileSync(join(ROOT, name), 'utf8')) as unknown
const { engines } = readJson('package.json') as { engines: { node: string } }
const { packages } = readJson('package-lock.json') as { packages: Record<string, LockedPackage> }

type Version = readonly [major: number, minor: number, patch: number]

function versionOf(text: string): Version {
  const [major = 0, minor = 0, patch = 0] = text
    .split('.')
    .map((part) => (/^\d+$/.test(part) ? Number(part) : 0))
  return [major, minor, patch]
}

function compare(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2]
}

/** The part of npm's ranges that packages use: alternatives of comparisons. */
function satisfies(version: Version, range: string): boolean {
  return range.split('||').some((alternative) => {
    const comparisons = alternative
      .trim()
      .replace(/([<>=^~])\s+/g, '$1')
      .split(/\s+/)
    return comparisons.every((comparison) => {
      const [, operator, text] = /^(>=|<=|>|<|=|\^|~)?v?([\dx.*]+)$/.exec(comparison) ?? []
      if (text === undefined) throw new Error(`a range that this test does not know: ${range}`)
      if (text === '*') return true
      const wanted = versionOf(text)
      const order = compare(version, wanted)
      switch (operator) {
        case '>=':
          return order >= 0
        case '>':
          return order > 0
        case '<=':
          return order <= 0
        case '<':
          return order < 0
        case '^':
          return order >= 0 && version[0] === wanted[0]
        case '~':
          return order >= 0 && version[0] === wanted[0] && version[1] === wanted[1]
        default:
          return version[0] === wanted[0]
      }
    })
  })
}

test('the least version is 20.19, and those that are tested are promised', () => {
  for (const tested of ['20.19.0', '22.0.0', '24.0.0', '26.0.0']) {
    expect(satisfies(versionOf(tested), engines.node)).toBe(true)
  }
  expect(satisfies(versionOf('20.18.9'), engines.node)).toBe(false)
})

test.each(['20.19.6', '22.23.5', '24.22.3', '26.12.1'])('no package refuses Node %s', (version) => {
  const refusing = Object.entries(packages)
    .filter(([path, { engines }]) => path !== '' && engines?.node !== undefined)
    .filter(([, { engines }]) => !satisfies(versionOf(version), engines!.node!))
    .map(([path, { engines }]) => `${path} wants ${engines!.node}`)
  expect(refusing).toEqual([])
})
