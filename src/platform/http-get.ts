import { get as httpGet, type IncomingMessage } from 'node:http'
import { get as httpsGet } from 'node:https'
import type { HttpGet } from '../api/sts/jwks.js'

/** Fetches by node:http and node:https; certificates are checked by Node.js (NODE_EXTRA_CA_CERTS adds own ones). */
export const systemHttpGet: HttpGet = (url, { timeoutMs, bytesMax }) =>
  new Promise((resolve, reject) => {
    const get = url.startsWith('https:') ? httpsGet : httpGet
    const options = { headers: { accept: 'application/json' }, signal: AbortSignal.timeout(timeoutMs) }
    const request = get(url, options, (response: IncomingMessage) => {
      const chunks: Buffer[] = []
      let length = 0
      response.on('error', reject)
      response.on('data', (chunk: Buffer) => {
        length += chunk.length
        chunks.push(chunk)
        if (length > bytesMax) request.destroy(new Error(`${url} has more than ${bytesMax} bytes`))
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }))
      response.on('close', () => reject(new Error(`${url} was not sent in full`)))
    })
    request.on('error', reject)
  })
