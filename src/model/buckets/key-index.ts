/** The fields of an access key that are indexed. */
interface Key {
  readonly id: string
  /** By the bucket's id in hex. */
  readonly permissions: ReadonlyMap<string, unknown>
  /** By name, the bucket's id in hex. */
  readonly localAliases: ReadonlyMap<string, string>
}

interface Indexed {
  readonly aliases: readonly string[]
  readonly buckets: readonly string[]
}

/**
 * Which keys have a permission in a bucket, and which buckets the keys' own names mean: questions that anybody may ask by a
 * request without a signature, and that would otherwise need a walk over all keys. It is made at the start, follows each change
 * of a key's row on this node, and gives only ids: what a key may do is read from its row.
 */
export class KeyIndex<K extends Key> {
  readonly #keys = new Map<string, Indexed>()
  /** Bucket id (hex) → ids of keys. */
  readonly #byBucket = new Map<string, Set<string>>()
  /** Name → ids of the keys that have it. */
  readonly #byAlias = new Map<string, Set<string>>()

  /** @param local the key as its row is now; undefined if it is deleted */
  constructor(private readonly local: (id: string) => K | undefined) {}

  /** Reads a key's row again. */
  changed(id: string): void {
    const before = this.#keys.get(id)
    for (const hexId of before?.buckets ?? []) removeFrom(this.#byBucket, hexId, id)
    for (const name of before?.aliases ?? []) removeFrom(this.#byAlias, name, id)
    const key = this.local(id)
    const buckets = [...(key?.permissions.keys() ?? [])]
    const aliases = [...(key?.localAliases.keys() ?? [])]
    if (buckets.length === 0 && aliases.length === 0) {
      this.#keys.delete(id)
      return
    }
    this.#keys.set(id, { buckets, aliases })
    for (const hexId of buckets) addTo(this.#byBucket, hexId, id)
    for (const name of aliases) addTo(this.#byAlias, name, id)
  }

  /** The keys that have a permission in a bucket, by id. */
  keysOf(hexId: string): K[] {
    return this.#read(this.#byBucket.get(hexId)).filter((key) => key.permissions.has(hexId))
  }

  /** The keys that have a name of their own for some bucket, by id. */
  keysWithAlias(name: string): K[] {
    return this.#read(this.#byAlias.get(name)).filter((key) => key.localAliases.has(name))
  }

  #read(ids: ReadonlySet<string> | undefined): K[] {
    return [...(ids ?? [])].sort().flatMap((id) => this.local(id) ?? [])
  }
}

function addTo(map: Map<string, Set<string>>, name: string, id: string): void {
  const ids = map.get(name)
  if (ids) ids.add(id)
  else map.set(name, new Set([id]))
}

function removeFrom(map: Map<string, Set<string>>, name: string, id: string): void {
  const ids = map.get(name)
  ids?.delete(id)
  if (ids?.size === 0) map.delete(name)
}
