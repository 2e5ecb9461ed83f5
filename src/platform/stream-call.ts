import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { StreamCall } from '../api/client/stream-call.js'

/**
 * By node:http and node:https, over connections that are kept. Redirects are not followed.
 * @param idleMs a connection on which nothing moves for so long is broken
 */
export function streamCall(idleMs: number): StreamCall {
  const agents = { http: new HttpAgent({ keepAlive: true }), https: new HttpsAgent({ keepAlive: true }) }
  return ({ origin, method, target, headers, body }) =>
    new Promise((resolve, reject) => {
      const { protocol, hostname, port } = new URL(origin)
      const secure = protocol === 'https:'
      // The target goes as it is: a URL would fold "..", which keys may contain.
      const request = (secure ? httpsRequest : httpRequest)(
        {
          host: hostname.replace(/^\[|\]$/g, ''),
          ...(port !== '' && { port }),
          ...{ method, path: target, headers, timeout: idleMs },
          agent: secure ? agents.https : agents.http,
        },
        (response: IncomingMessage) => {
          const known: Record<string, string> = {}
          for (const [name, value] of Object.entries(response.headers))
            if (value !== undefined) known[name] = Array.isArray(value) ? value.join(', ') : value
          resolve({ status: response.statusCode ?? 0, headers: known, body: response })
        },
      )
      request.on('timeout', () => request.destroy(new Error(`${origin} did not answer in time`)))
      request.on('error', reject)
      if (body === undefined || Buffer.isBuffer(body)) request.end(body)
      // A failure of the content ends the request; one of the request is told by its own event.
      else pipeline(Readable.from(body, { objectMode: false }), request).catch(reject)
    })
}
