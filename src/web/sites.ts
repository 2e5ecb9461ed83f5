import { bucketNamesOf, hostNameOf } from '../api/http/host.js'
import type { Bucket } from '../model/buckets/buckets.js'
import type { WebsiteDocument } from '../model/buckets/documents.js'
import type { Model } from '../model/model.js'
import { type Awaitable, whenReady } from '../util/awaitable.js'

/** A bucket that is served as a web site. */
export interface Site {
  bucket: Bucket
  website: WebsiteDocument
  /** The name by which it was found. */
  name: string
  /** Whether pages are taken from any one replica. */
  anyReplica: boolean
}

/** Finds the site that a host name means. */
export class Sites {
  constructor(
    private readonly buckets: Pick<Model['buckets'], 'find' | 'localByName'>,
    /** Without leading dot, in lower case; null: sites have full host names only. */
    private readonly rootDomain: string | null,
  ) {}

  /**
   * The site of an authority as in a Host header; undefined if there is none.
   * @throws CarportError QuorumUnavailable, LayoutNotReady
   */
  find(authority: string): Awaitable<Site | undefined> {
    const host = hostNameOf(authority)
    if (host === undefined) return undefined
    const names = bucketNamesOf(host, this.rootDomain)
    for (const name of names) {
      // Such a site is to be read while this node is cut off from the others, and so are its settings.
      const known = siteOf(this.buckets.localByName(name, undefined), name)
      if (known?.anyReplica) return known
    }
    return this.#first(names, 0)
  }

  #first(names: readonly string[], at: number): Awaitable<Site | undefined> {
    const name = names[at]
    if (name === undefined) return undefined
    return whenReady(
      this.buckets.find(name, undefined),
      (bucket) => siteOf(bucket, name) ?? this.#first(names, at + 1),
    )
  }
}

function siteOf(bucket: Bucket | undefined, name: string): Site | undefined {
  const website = bucket?.document('website')
  if (!bucket || !website) return undefined
  return { bucket, website, name, anyReplica: website.consistencyMode === 'degraded' }
}
