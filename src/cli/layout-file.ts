/** The file of `layout plan` and `layout export`: the roles of all nodes, as TOML. */
import { parse as parseToml, TomlError } from 'smol-toml'
import type { ZoneRedundancy } from '../api/admin/operation-schemas.js'
import type { ClusterLayout, ClusterStatus } from '../api/admin/types.js'
import { parseSize, show, ValueError } from '../config/values.js'
import { CliError } from './admin-client.js'
import { parseRedundancy } from './commands/layout.js'
import { printable } from './format.js'

/** A layout as a file says that it shall be. */
export interface LayoutFile {
  zoneRedundancy: ZoneRedundancy
  nodes: { id: string; zone: string; capacity: number | null; tags: string[] }[]
}

const TOP_KEYS = ['zone_redundancy', 'node']
const NODE_KEYS = ['id', 'zone', 'capacity', 'gateway', 'tags']

/**
 * Reads a layout file.
 * @throws CliError that names the file and the place, for a text that is no such file
 */
export function parseLayoutFile(fileName: string, text: string): LayoutFile {
  const wrong = (place: string, message: string) => new CliError(`${fileName}: ${place}: ${message}`)
  let table: Record<string, unknown>
  try {
    table = parseToml(text.replace(/^\uFEFF/, ''))
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    throw wrong(`line ${error.line}, column ${error.column}`, 'expected TOML')
  }
  const unknown = Object.keys(table).find((key) => !TOP_KEYS.includes(key))
  if (unknown !== undefined)
    throw wrong(unknown, `is no key of a layout, expected one of: ${TOP_KEYS.join(', ')}`)
  const zoneRedundancy = parseRedundancy(String(table.zone_redundancy ?? 'maximum'))
  if (zoneRedundancy === undefined) throw wrong('zone_redundancy', 'expected a number of zones, or "maximum"')
  if (!Array.isArray(table.node)) throw wrong('node', 'expected at least one section [[node]]')
  const nodes = table.node.map((section: unknown, i) => {
    const name = `node ${i + 1}`
    if (typeof section !== 'object' || section === null) throw wrong(name, 'expected a section [[node]]')
    return parseNode(section as Record<string, unknown>, (key, message) => wrong(`${name}, ${key}`, message))
  })
  return { zoneRedundancy, nodes }
}

function parseNode(
  section: Record<string, unknown>,
  wrong: (key: string, message: string) => CliError,
): LayoutFile['nodes'][number] {
  const { id, zone, capacity, gateway = false, tags = [] } = section
  const unknown = Object.keys(section).find((key) => !NODE_KEYS.includes(key))
  if (unknown !== undefined)
    throw wrong(unknown, `is no key of a node, expected one of: ${NODE_KEYS.join(', ')}`)
  if (typeof id !== 'string' || !/^[0-9a-f]{4,64}$/i.test(id))
    throw wrong('id', `is ${show(id)}, expected a node id, or at least its first 4 hexadecimal digits`)
  if (typeof zone !== 'string' || zone === '')
    throw wrong('zone', `is ${show(zone)}, expected the name of a zone`)
  if (typeof gateway !== 'boolean') throw wrong('gateway', `is ${show(gateway)}, expected true or false`)
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === 'string'))
    throw wrong('tags', 'expected a list of texts')
  if (gateway === (capacity !== undefined))
    throw wrong('capacity', 'expected a size, or gateway = true for a node that stores nothing')
  try {
    return { id: id.toLowerCase(), zone, capacity: gateway ? null : parseSize(capacity), tags }
  } catch (error) {
    if (error instanceof ValueError) throw wrong('capacity', error.message)
    throw error
  }
}

/** The current layout as such a file, with the nodes' host names as comments. */
export function formatLayoutFile(layout: ClusterLayout, { nodes }: ClusterStatus): string {
  const { zoneRedundancy } = layout.parameters
  const redundancy = zoneRedundancy === 'maximum' ? '"maximum"' : String(zoneRedundancy.atLeast)
  const sections = layout.roles.map(({ id, zone, capacity, tags }) => {
    const hostname = nodes.find((node) => node.id === id)?.hostname
    return [
      '[[node]]',
      `id = ${text(id)}${hostname ? ` # ${printable(hostname)}` : ''}`,
      `zone = ${text(zone)}`,
      capacity === null ? 'gateway = true' : `capacity = ${exactSize(capacity)}`,
      ...(tags.length > 0 ? [`tags = [${tags.map(text).join(', ')}]`] : []),
    ].join('\n')
  })
  return [
    `# Layout version ${layout.version}. Change it, then: carport layout plan -f <this file>`,
    `zone_redundancy = ${redundancy}`,
    ...sections,
  ].join('\n\n')
}

/** A basic string of TOML. */
function text(value: string): string {
  return JSON.stringify(value).replace(/\x7f/g, '\\u007f')
}

const UNITS: [unit: string, bytes: number][] = [
  ['P', 1e15],
  ['Pi', 2 ** 50],
  ['T', 1e12],
  ['Ti', 2 ** 40],
  ['G', 1e9],
  ['Gi', 2 ** 30],
  ['M', 1e6],
  ['Mi', 2 ** 20],
]

/** A size that reads back as the same number of bytes. */
function exactSize(bytes: number): string {
  const [unit, size] = UNITS.find(([, unitBytes]) => bytes >= unitBytes && bytes % unitBytes === 0) ?? []
  return unit === undefined ? String(bytes) : `"${bytes / size!}${unit}"`
}
