/**
 * Buckets as web sites. A request is read in this order: the host, which names the site; the site's redirects; the page,
 * or the folder's; the site's rules and document for errors.
 *
 * A site is public by its bucket's website settings alone: neither policies nor lists of access are asked.
 *
 * Known gaps and quirks
 * - A range of several parts is answered with the whole page, as the RFC allows and S3 does.
 * - Pages encrypted with a client's key (SSE-C) are answered with 403.
 * - A path with a segment "." or ".." is answered with 400: browsers never send one, and no object is reached by it.
 */
import type { Answer, AnswerHeaders, ErrorAnswer } from '../api/http/answer.js'
import type { BrokenRequest, BrokenRequestAnswer } from '../api/http/client-error.js'
import { checkConditions, ifRangeHolds, readConditions } from '../api/http/conditions.js'
import { corsHeaders, matchCors, requestedHeaders } from '../api/http/cors.js'
import { HttpFront, type HttpFrontOptions, type Protocol } from '../api/http/front.js'
import { type ByteRange, parseRange } from '../api/http/range.js'
import { percentDecode } from '../api/http/uri.js'
import type { MasterKeys } from '../model/content/ciphers.js'
import type { Model } from '../model/model.js'
import { KEY_BYTES_MAX } from '../model/versions/key-bounds.js'
import { type Awaitable, whenReady } from '../util/awaitable.js'
import { acceptedCodings } from './encoding.js'
import { errorPage, plainAnswer, toWebError, WebError } from './errors.js'
import { type Page, Pages } from './pages.js'
import { WebRequest } from './request.js'
import { routeOf, routeOfError, type SiteTarget } from './routing.js'
import { type Site, Sites } from './sites.js'

const METHODS = 'GET, HEAD, OPTIONS'
const CORS_VARY = 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method'

export interface WebFrontOptions extends HttpFrontOptions {
  readonly model: Pick<Model, 'buckets' | 'objects' | 'blobs'>
  /** They open pages that are encrypted with the cluster's keys (SSE-S3). */
  readonly masterKeys: MasterKeys
  /** The domain under which buckets are sites, without leading dot; null: by their full names only. */
  readonly rootDomain: string | null
  /** Memory for small pages, in bytes. */
  readonly cacheBytesMax: number
}

/** The web endpoint on the HTTP front; attach it to a server. */
export function createWebFront(options: WebFrontOptions): HttpFront<WebRequest> {
  return new HttpFront(new WebProtocol(options), options)
}

class WebProtocol implements Protocol<WebRequest> {
  readonly Request = WebRequest
  readonly requestIdHeader = 'x-amz-request-id'
  readonly #sites: Sites
  readonly #pages: Pages

  constructor({ model, masterKeys, rootDomain, cacheBytesMax }: WebFrontOptions) {
    this.#sites = new Sites(model.buckets, rootDomain)
    this.#pages = new Pages(model, masterKeys, cacheBytesMax)
  }

  serve(request: WebRequest): Awaitable<Answer> {
    const { authority } = request
    if (authority === undefined) throw new WebError(400, 'The request must name one host.')
    return whenReady(this.#sites.find(authority), (site) => {
      if (!site) throw new WebError(404, 'There is no site of that name here.')
      request.site = site
      return this.#serveSite(request, site, authority)
    })
  }

  errorAnswer(thrown: unknown, _request: WebRequest): ErrorAnswer {
    return plainAnswer(toWebError(thrown))
  }

  brokenRequest(reason: BrokenRequest): BrokenRequestAnswer {
    const [status, message] = BROKEN[reason]
    return { status, contentType: 'text/html; charset=utf-8', body: errorPage(status, message) }
  }

  originHeaders({ site, method, headers }: WebRequest): AnswerHeaders | undefined {
    const rules = site?.bucket.document('cors')
    const { origin } = headers
    if (!rules || origin === undefined) return undefined
    const question = { origin, method, headers: [] }
    const match = matchCors(rules, question)
    // A cache must not give this answer to an origin that a rule allows.
    return match ? corsHeaders(match, question) : { Vary: CORS_VARY }
  }

  #serveSite(request: WebRequest, site: Site, authority: string): Awaitable<Answer> {
    const { method } = request
    if (method === 'OPTIONS') return preflight(request, site)
    if (method !== 'GET' && method !== 'HEAD') {
      throw new WebError(405, `Sites are read by ${METHODS}.`, { headers: { Allow: METHODS } })
    }
    const target = targetOf(request, authority)
    const route = routeOf(site.website, target)
    if (route.kind === 'redirect') return redirect(route.status, route.location)
    return whenReady(this.#read(request, site, route.key), (page) => {
      if (page) return this.#send(request, page, route.status)
      const { folder } = route
      if (!folder) return this.#sendError(request, site, target, 404)
      return whenReady(this.#pages.exists(site, folder.key), (there) =>
        there ? redirect(302, folder.location) : this.#sendError(request, site, target, 404),
      )
    })
  }

  #read(request: WebRequest, site: Site, key: string): Awaitable<Page | undefined> {
    const codings = acceptedCodings(request.headers['accept-encoding'] as string | undefined)
    return this.#pages.negotiate(site, key, codings)
  }

  /** What the site has for an error: a rule, its error document, or a plain page. */
  #sendError(request: WebRequest, site: Site, target: SiteTarget, status: number): Awaitable<Answer> {
    const rule = routeOfError(site.website, target, status)
    if (rule?.kind === 'redirect') return redirect(rule.status, rule.location)
    if (!rule) return this.#sendErrorDocument(request, site, status)
    return whenReady(this.#read(request, site, rule.key), (page) =>
      page ? this.#send(request, page, rule.status) : this.#sendErrorDocument(request, site, status),
    )
  }

  #sendErrorDocument(request: WebRequest, site: Site, status: number): Awaitable<Answer> {
    const key = site.website.errorDocument?.replace(/^\/+/, '')
    const missing = () => new WebError(status, 'There is no such page on this site.')
    if (!key) throw missing()
    return whenReady(this.#read(request, site, key), (page) => {
      if (!page) throw missing()
      return this.#send(request, page, status)
    })
  }

  /** Sends a page. Conditions and ranges are about pages that are there, so they count for status 200 alone. */
  #send(request: WebRequest, page: Page, status: number): Awaitable<Answer> {
    if (page.isSealed) throw new WebError(403, 'This page is encrypted with a key that only its owner has.')
    if (status !== 200) return this.#sendBytes(request, page, { status, headers: page.headers }, 0, page.size)
    if (page.redirect !== undefined) return redirect(301, page.redirect)
    const conditions = readConditions((name) => request.headers[name] as string | undefined)
    if (conditions) {
      const { lastModifiedMs, etag } = page
      const verdict = checkConditions(conditions, { etag: etag.slice(1, -1), lastModifiedMs })
      if (verdict === 'not-modified') return { status: 304, headers: headersOfUnchanged(page) }
      if (verdict !== 'ok') throw new WebError(412, `The condition ${verdict} does not hold.`)
    }
    const range = rangeOf(request, page)
    if (!range) return this.#sendBytes(request, page, { status, headers: page.headers }, 0, page.size)
    const { start, end } = range
    const headers = {
      ...page.headers,
      'content-length': String(end - start),
      'content-range': `bytes ${start}-${end - 1}/${page.size}`,
    }
    return this.#sendBytes(request, page, { status: 206, headers }, start, end)
  }

  #sendBytes(request: WebRequest, page: Page, answer: Answer, start: number, end: number): Awaitable<Answer> {
    if (request.method === 'HEAD') return answer
    return whenReady(
      this.#pages.content(page, start, end, () => request.signal),
      (body) => ({ ...answer, body }),
    )
  }
}

const BROKEN = {
  'header-overflow': [431, 'The head of the request is too long.'],
  timeout: [408, 'The request did not come in time.'],
  malformed: [400, 'The request is no HTTP.'],
} as const satisfies Record<BrokenRequest, readonly [number, string]>

/** @throws WebError 400, 414 */
function targetOf({ rawPath, rawQuery, secure }: WebRequest, authority: string): SiteTarget {
  const path = percentDecode(rawPath)?.slice(1)
  if (path === undefined || path.includes('\0')) throw new WebError(400, 'The path cannot be read.')
  if (Buffer.byteLength(path) > KEY_BYTES_MAX) throw new WebError(414, 'The path is too long.')
  if (/(^|\/)\.\.?(\/|$)/.test(path)) throw new WebError(400, 'The path must not have "." or ".." in it.')
  return { path, rawPath, rawQuery, authority, secure }
}

/** The bytes that the request asks for; undefined for all. @throws WebError 416 */
function rangeOf({ method, headers }: WebRequest, page: Page): ByteRange | undefined {
  if (headers.range === undefined || method === 'HEAD') return undefined
  const { etag, lastModifiedMs } = page
  const ifRange = headers['if-range'] as string | undefined
  if (!ifRangeHolds(ifRange, { etag: etag.slice(1, -1), lastModifiedMs })) return undefined
  const range = parseRange(headers.range, page.size)
  if (range !== 'unsatisfiable') return range
  throw new WebError(416, 'The page has no such bytes.', {
    headers: { 'content-range': `bytes */${page.size}` },
  })
}

function headersOfUnchanged({ headers }: Page): AnswerHeaders {
  const { 'content-type': _, 'content-length': __, 'content-encoding': ___, ...rest } = headers
  return rest
}

function redirect(status: number, location: string): Answer {
  return { status, headers: { Location: location } }
}

/** @throws WebError 400, 403 */
function preflight({ headers }: WebRequest, { bucket }: Site): Answer {
  const { origin } = headers
  const method = headers['access-control-request-method']
  if (origin === undefined || method === undefined) {
    throw new WebError(400, 'A preflight request names an origin and a method.')
  }
  const question = { origin, method, headers: requestedHeaders(headers['access-control-request-headers']) }
  const match = matchCors(bucket.document('cors') ?? [], question)
  if (!match) throw new WebError(403, 'The site does not allow this request from that origin.')
  return { status: 200, headers: corsHeaders(match, question) }
}
