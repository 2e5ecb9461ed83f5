import { type StatWatcher, unwatchFile, watchFile } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import type { TlsFiles } from '../config/config.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'

/** How often the files are looked at, in ms. */
const LOOK_EVERY_MS = 5_000

/** A certificate with its chain, and its private key, in PEM. */
export interface TlsPair {
  cert: Buffer
  key: Buffer
}

/**
 * Reads a certificate and its key, and makes sure that they belong together.
 * @throws CarportError InvalidArgument that names the file
 */
export async function readTlsFiles({ certFile, keyFile }: TlsFiles): Promise<TlsPair> {
  const [cert, key] = await Promise.all([read(certFile, 'certificate'), read(keyFile, 'key')])
  try {
    createSecureContext({ cert, key })
  } catch (cause) {
    throw new CarportError(
      'InvalidArgument',
      `the certificate ${certFile} and the key ${keyFile} cannot be used together (${(cause as Error).message})`,
      { cause },
    )
  }
  return { cert, key }
}

/**
 * Reads the files again when they change, and gives the new pair to `use`. A pair that does not fit together (one file
 * was replaced, the other is still to come) leaves the old one in use, with a line in the log.
 * @returns stops watching
 */
export function watchTlsFiles(
  files: TlsFiles,
  use: (pair: TlsPair) => void,
  log: Log,
  lookEveryMs = LOOK_EVERY_MS,
): () => void {
  const { certFile, keyFile } = files
  const changed = () => {
    readTlsFiles(files).then(
      (pair) => {
        use(pair)
        log.info({ certFile }, 'a new certificate is in use')
      },
      (error: unknown) => log.warn({ certFile, keyFile, error }, 'the old certificate stays in use'),
    )
  }
  const names = [...new Set([certFile, keyFile])]
  // By looking rather than by events: these follow no links, which is how certbot and Kubernetes replace files.
  for (const name of names) {
    const watcher: StatWatcher = watchFile(name, { interval: lookEveryMs, persistent: false }, changed)
    watcher.unref()
  }
  return () => {
    for (const name of names) unwatchFile(name, changed)
  }
}

async function read(file: string, what: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new CarportError('InvalidArgument', `the ${what} ${file} cannot be read (${code})`, { cause })
  }
}
