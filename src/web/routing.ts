/** Where a request of a site leads: decisions from the site's settings and the path alone. */
import { uriEncode } from '../api/http/uri.js'
import { REWRITES, type RoutingRule, type WebsiteDocument } from '../model/buckets/documents.js'

/** What a site is asked for. */
export interface SiteTarget {
  /** The decoded path, without the slash at its start. */
  path: string
  /** As sent, with the slash at its start. */
  rawPath: string
  /** As sent, without "?". */
  rawQuery: string
  /** The host, perhaps with a port, as sent. */
  authority: string
  /** Whether the visitor came by TLS. */
  secure: boolean
}

export type Route =
  | { kind: 'redirect'; status: number; location: string }
  | {
      kind: 'page'
      key: string
      status: number
      /** If there is no such page, but this one: where the folder is. */
      folder?: { key: string; location: string }
    }

const DEFAULT_REDIRECT = 302

/** Where a request leads before anything is read. */
export function routeOf(website: WebsiteDocument, target: SiteTarget): Route {
  const all = website.redirectAllRequestsTo
  if (all) {
    const protocol = all.protocol ?? (target.secure ? 'https' : 'http')
    const location = `${protocol}://${all.hostName}${target.rawPath}${queryOf(target)}`
    return { kind: 'redirect', status: 301, location }
  }
  for (const rule of website.routingRules ?? []) {
    if (rule.condition?.httpErrorCodeReturnedEquals !== undefined) continue
    const route = ruleRoute(website, rule, target)
    if (route) return route
  }
  const { path, rawPath } = target
  const key = pageKey(website, path)
  if (key !== path) return { kind: 'page', key, status: 200 }
  const folder = {
    key: `${path}/${website.indexDocument}`,
    location: localPath(`${rawPath}/`) + queryOf(target),
  }
  return { kind: 'page', key, status: 200, folder }
}

/** Where a request leads whose page could not be sent, for that status; undefined if no rule says. */
export function routeOfError(
  website: WebsiteDocument,
  target: SiteTarget,
  status: number,
): Route | undefined {
  for (const rule of website.routingRules ?? []) {
    if (rule.condition?.httpErrorCodeReturnedEquals !== status) continue
    const route = ruleRoute(website, rule, target)
    if (route) return route
  }
  return undefined
}

/** The key of the page for a path: that of the index document for a folder. */
export function pageKey(website: WebsiteDocument, path: string): string {
  return path === '' || path.endsWith('/') ? path + website.indexDocument : path
}

/** Where a rule leads; undefined if its prefix does not fit. */
function ruleRoute(
  website: WebsiteDocument,
  { condition, redirect }: RoutingRule,
  target: SiteTarget,
): Route | undefined {
  const rest = restAfter(condition?.keyPrefixEquals ?? '', website, target.path)
  if (rest === undefined) return undefined
  const { hostName, protocol, replaceKeyPrefixWith, replaceKeyWith } = redirect
  const status = redirect.httpRedirectCode ?? DEFAULT_REDIRECT
  const replaced =
    replaceKeyWith ?? (replaceKeyPrefixWith === undefined ? undefined : replaceKeyPrefixWith + rest)
  if (REWRITES.includes(status)) {
    return { kind: 'page', key: pageKey(website, (replaced ?? target.path).replace(/^\/+/, '')), status }
  }
  const path = replaced === undefined ? target.rawPath : `/${uriEncode(replaced.replace(/^\//, ''), true)}`
  const query = replaceKeyWith === undefined ? queryOf(target) : ''
  if (hostName !== undefined || protocol !== undefined) {
    const origin = `${protocol === undefined ? '' : `${protocol}:`}//${hostName ?? target.authority}`
    return { kind: 'redirect', status, location: origin + path + query }
  }
  return { kind: 'redirect', status, location: localPath(path) + query }
}

/** The path after the prefix; of the index document's key where only that has it. */
function restAfter(prefix: string, website: WebsiteDocument, path: string): string | undefined {
  if (path.startsWith(prefix)) return path.slice(prefix.length)
  const key = pageKey(website, path)
  return key.startsWith(prefix) ? key.slice(prefix.length) : undefined
}

/** A path on the same host: one that begins with two slashes would name another host. */
function localPath(path: string): string {
  return /^\/[/\\]/.test(path) ? `/.${path}` : path
}

function queryOf({ rawQuery }: SiteTarget): string {
  return rawQuery === '' ? '' : `?${rawQuery}`
}
