import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createIdentity, loadIdentity, type NodeIdentity } from '../net/identity.js'
import { createOnce } from '../platform/create-once.js'
import { CarportError } from '../util/errors.js'
import type { Random } from '../util/random.js'

export const NODE_KEY_FILE = 'node_key.pem'
export const NODE_CERTIFICATE_FILE = 'node_cert.pem'

/**
 * The node's identity in its metadata folder; undefined if it has none yet.
 * @throws CarportError InvalidArgument if it cannot be read, Corrupted if it is no identity
 */
export function readNodeIdentity(metadataDir: string): NodeIdentity | undefined {
  const keyPath = join(metadataDir, NODE_KEY_FILE)
  const key = read(keyPath)
  if (key === undefined) return undefined
  const certificate = read(join(metadataDir, NODE_CERTIFICATE_FILE))
  try {
    return loadIdentity(key, certificate)
  } catch (cause) {
    throw new CarportError(
      'Corrupted',
      `${keyPath} holds no usable node key: restore it from a backup, or remove it with ${NODE_CERTIFICATE_FILE} to become a new node`,
      { cause },
    )
  }
}

/**
 * The node's identity, made at the first call. Safe beside a server that starts at the same time.
 * @throws CarportError like `readNodeIdentity`, and InvalidArgument if it cannot be written
 */
export function loadOrCreateNodeIdentity(metadataDir: string, random: Random): NodeIdentity {
  const existing = readNodeIdentity(metadataDir)
  if (existing !== undefined) return existing
  const keyPath = join(metadataDir, NODE_KEY_FILE)
  try {
    createOnce(keyPath, createIdentity(random).privateKeyPem, random)
    // Whose key it became is in the file; the certificate follows from it.
    const identity = loadIdentity(readFileSync(keyPath, 'utf8'))
    createOnce(join(metadataDir, NODE_CERTIFICATE_FILE), identity.certificatePem, random)
    return identity
  } catch (cause) {
    throw new CarportError('InvalidArgument', `cannot make the node key ${keyPath} (${codeOf(cause)})`, {
      cause,
    })
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const code = codeOf(cause)
    if (code === 'ENOENT') return undefined
    throw new CarportError(
      'InvalidArgument',
      `cannot read ${path} (${code}): run this as the server's user`,
      { cause },
    )
  }
}

function codeOf(error: unknown): string {
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? code : 'unknown error'
}
