import { isIP } from 'node:net'

/** Letters, digits, hyphens and underscores in labels; xn-- names are of these too. */
const HOST_NAME = /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/
const HOST_LENGTH_MAX = 253

/**
 * The host name of an authority ("Blog.Example.org:8080"), in lower case and without the dot that may end it.
 * @returns undefined for an address, and for what is no host name
 */
export function hostNameOf(authority: string): string | undefined {
  const match = /^([^:[\]]+)(?::\d{0,5})?$/.exec(authority)
  const host = match?.[1]?.toLowerCase().replace(/\.$/, '')
  if (host === undefined || host.length > HOST_LENGTH_MAX || isIP(host) !== 0) return undefined
  return HOST_NAME.test(host) ? host : undefined
}

/**
 * The names of buckets that a host name may mean, the first one first: what stands before the root domain, then the
 * whole.
 */
export function bucketNamesOf(host: string, rootDomain: string | null): string[] {
  if (rootDomain === null || !host.endsWith(`.${rootDomain}`)) return [host]
  return [host.slice(0, -rootDomain.length - 1), host]
}
