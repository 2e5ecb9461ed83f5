import { type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'

export interface Visit {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  text: string
}

/** A request as sent: fetch would mend the path, and takes no Host. */
export function visit(
  port: number,
  host: string,
  path: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
): Promise<Visit> {
  return new Promise((resolve, reject) => {
    const sent = request({
      port,
      host: '127.0.0.1',
      method,
      path,
      headers: { host, ...headers },
      agent: false,
    })
    sent.on('error', reject)
    sent.on('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const body = Buffer.concat(chunks)
        resolve({ status: response.statusCode!, headers: response.headers, body, text: body.toString() })
      })
    })
    sent.end()
  })
}

/** Sends bytes as they are, and resolves with all that comes back until the connection ends. */
export function exchangeBytes(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let got = ''
    socket.on('data', (data) => {
      got += data.toString('latin1')
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(got))
    socket.write(Buffer.from(bytes, 'latin1'))
  })
}
