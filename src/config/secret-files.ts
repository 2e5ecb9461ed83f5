import { parse as parseToml } from 'smol-toml'
import { type Env, readEnv } from './secrets.js'

/** A file that the configuration names because a secret is in it. */
export interface SecretFile {
  /** The key, or the variable of the environment, that names it. */
  key: string
  path: string
}

/** The keys of secrets, each with its section; with `_file` behind it, a key names a file. */
const SECRETS: readonly [section: string | null, key: string, envName: string | null][] = [
  [null, 'rpc_secret', 'RPC_SECRET'],
  [null, 'sse_master_key', 'SSE_MASTER_KEY'],
  ['admin', 'admin_token', 'ADMIN_TOKEN'],
  ['admin', 'metrics_token', 'METRICS_TOKEN'],
  ['s3_api', 'tls_key', null],
  ['k2v_api', 'tls_key', null],
  ['s3_web', 'tls_key', null],
  ['admin', 'tls_key', null],
]

/**
 * The files with secrets that a configuration and the environment name, and whether secrets stand in the configuration
 * itself. Says nothing of a text that is no TOML: reading the configuration does.
 */
export function secretFilesOf(text: string, env: Env): { files: SecretFile[]; inline: boolean } {
  const table = parsed(text)
  const files: SecretFile[] = []
  let inline = false
  for (const [section, key, envName] of SECRETS) {
    const values = section === null ? table : tableOf(table[section])
    const name = section === null ? key : `${section}.${key}`
    const file = values[`${key}_file`]
    if (typeof file === 'string') files.push({ key: `${name}_file`, path: file })
    if (typeof values[key] === 'string') inline = true
    const fromEnv = envName === null ? undefined : readEnv(env, `${envName}_FILE`)
    if (fromEnv) files.push({ key: fromEnv.variable, path: fromEnv.value })
  }
  for (const target of listOf(table.notifications)) {
    if (typeof target.secret_file === 'string')
      files.push({ key: 'notifications.secret_file', path: target.secret_file })
    if (typeof target.secret === 'string') inline = true
  }
  return { files, inline }
}

type Values = Record<string, unknown>

function parsed(text: string): Values {
  try {
    return parseToml(text.replace(/^\uFEFF/, ''))
  } catch {
    return {}
  }
}

function tableOf(value: unknown): Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Values) : {}
}

function listOf(value: unknown): Values[] {
  return Array.isArray(value) ? value.map(tableOf) : Object.values(tableOf(value)).map(tableOf)
}
