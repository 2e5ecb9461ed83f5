import { readFile } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'

export interface HttpCallOptions {
  method: string
  headers?: Readonly<Record<string, string>>
  body?: string
  timeoutMs: number
  /** The most that is read of an answer. */
  bytesMax: number
  /** Paths of PEM files, read for each call, and whether the server's certificate is checked. */
  tls?: {
    caFile: string | null
    certFile: string | null
    keyFile: string | null
    skipVerify: boolean
  }
}

/** Calls a server over HTTP. @throws Error if there is no answer, or it is too long */
export type HttpCall = (url: string, options: HttpCallOptions) => Promise<{ status: number; body: string }>

/** By node:http and node:https. */
export const systemHttpCall: HttpCall = async (url, options) => {
  const { status, body } = await exchange(url, options)
  return { status, body: body.toString() }
}

/**
 * Sends a request and reads the whole answer. Certificates are checked by Node.js (NODE_EXTRA_CA_CERTS adds own ones).
 * @throws Error if there is no answer, or it is too long or cut off
 */
export async function exchange(
  url: string,
  { method, headers, body, timeoutMs, bytesMax, tls }: HttpCallOptions,
): Promise<{ status: number; body: Buffer }> {
  const read = async (file: string | null | undefined) => (file ? await readFile(file) : undefined)
  const [ca, cert, key] = await Promise.all([read(tls?.caFile), read(tls?.certFile), read(tls?.keyFile)])
  return new Promise((resolve, reject) => {
    const request = (url.startsWith('https:') ? httpsRequest : httpRequest)(
      url,
      {
        method,
        headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
        signal: AbortSignal.timeout(timeoutMs),
        ...(ca && { ca }),
        ...(cert && { cert }),
        ...(key && { key }),
        ...(tls?.skipVerify && { rejectUnauthorized: false }),
      },
      (response) => {
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
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}
