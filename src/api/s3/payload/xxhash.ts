import type { IHasher } from 'hash-wasm'
import type { ChecksumAlgorithm } from '../../../model/versions/record.js'
import { assert } from '../../../util/assert.js'

/** Checksums by xxHash (https://xxhash.com), without a seed, in big-endian ("canonical") order. */
export type XxHash = 'XXHASH3' | 'XXHASH64' | 'XXHASH128'

export function isXxHash(algorithm: ChecksumAlgorithm): algorithm is XxHash {
  return algorithm === 'XXHASH3' || algorithm === 'XXHASH64' || algorithm === 'XXHASH128'
}

/** An instance of WebAssembly, which one body at a time has the use of. */
interface Engine {
  readonly hasher: IHasher
  user: XxHasher | undefined
}

let engines: Record<XxHash, Engine> | undefined
let loading: Promise<void> | undefined

/** Loads the library, once. It takes 12 MiB of memory, and few clients ask for it. @returns undefined if it is there */
export function loadXxHash(): Promise<void> | undefined {
  if (engines) return undefined
  loading ??= load().catch((error: unknown) => {
    loading = undefined
    throw error
  })
  return loading
}

async function load(): Promise<void> {
  const { createXXHash3, createXXHash64, createXXHash128 } = await import('hash-wasm')
  const [xxh3, xxh64, xxh128] = await Promise.all([createXXHash3(), createXXHash64(), createXXHash128()])
  const engine = (hasher: IHasher): Engine => ({ hasher, user: undefined })
  engines = { XXHASH3: engine(xxh3), XXHASH64: engine(xxh64), XXHASH128: engine(xxh128) }
}

/** Computes a hash piece by piece; several can be under way at once and share an engine. */
export class XxHasher {
  readonly #engine: Engine
  /** Its state when another hasher took the engine. */
  #state: Uint8Array | undefined

  constructor(algorithm: XxHash) {
    assert(engines !== undefined, 'xxHash is loaded before it is used')
    this.#engine = engines[algorithm]
  }

  update(data: Buffer): void {
    this.#take().update(data)
  }

  digest(): Buffer {
    const digest = Buffer.from(this.#take().digest('binary'))
    this.#engine.user = undefined
    return digest
  }

  #take(): IHasher {
    const engine = this.#engine
    const { hasher, user } = engine
    if (user === this) return hasher
    if (user) user.#state = hasher.save()
    hasher.init()
    if (this.#state) hasher.load(this.#state)
    engine.user = this
    return hasher
  }
}
