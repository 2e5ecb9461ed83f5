import { HttpRequest } from '../api/http/request.js'
import type { Site } from './sites.js'

/** A request of a visitor. */
export class WebRequest extends HttpRequest {
  /** The front sets it once it is known. */
  site: Site | undefined

  override get operationName(): string {
    return OPERATIONS[this.method] ?? 'Other'
  }

  override get bucket(): string | undefined {
    return this.site?.name
  }

  /** The host, perhaps with a port; undefined if the request names none, or not clearly one. */
  get authority(): string | undefined {
    const { headers, rawHeaders } = this
    const host = headers.host ?? (headers[':authority'] as string | undefined)
    if (host === undefined || this.#contradicts(host)) return undefined
    let hosts = 0
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const name = rawHeaders[i]!
      if (name.length === 4 && name.toLowerCase() === 'host') hosts++
    }
    return hosts > 1 ? undefined : host
  }

  /** Whether the target is in absolute form, as for proxies, and names another host: who is asked is not clear then. */
  #contradicts(host: string): boolean {
    const { url = '/' } = this.message
    if (url.charCodeAt(0) === 47) return false
    const named = /^[a-z]+:\/\/([^/?#]*)/i.exec(url)?.[1]
    return named !== undefined && named.toLowerCase() !== host.toLowerCase()
  }
}

const OPERATIONS: Record<string, string> = { GET: 'GetPage', HEAD: 'HeadPage', OPTIONS: 'PreflightPage' }
