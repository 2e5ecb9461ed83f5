import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Mount } from '../http/front.js'

/** Where the console finds the S3 API on its own port. */
export const S3_PREFIX = '/console/s3/'

/**
 * The S3 API below the console's address, so that a browser needs no second port and no CORS. Paths are signed without the
 * prefix. Objects come from the origin of the console here, so none may run as a page: only requests that are signed in a
 * header are served, which no link can make, and what they answer is locked up. The exchange of an identity provider's token
 * for temporary keys is not signed; it is no request for an object.
 */
export function mountS3(front: Pick<Mount, 'serve'>): Mount {
  return {
    prefix: S3_PREFIX,
    serve(message: IncomingMessage, response: ServerResponse, awaitsContinue: boolean) {
      if (!isSignedInHeader(message) && !isTokenExchange(message)) {
        response.writeHead(403, { 'Content-Type': 'text/plain; charset=utf-8', Connection: 'close' })
        response.end('Requests to the S3 API below the console are signed in their Authorization header.\n')
        return
      }
      message.url = message.url!.slice(S3_PREFIX.length - 1)
      response.setHeader('Content-Security-Policy', "sandbox; default-src 'none'")
      response.setHeader('X-Content-Type-Options', 'nosniff')
      response.setHeader('Cross-Origin-Resource-Policy', 'same-origin')
      front.serve(message, response, awaitsContinue)
    },
  }
}

function isSignedInHeader({ headers, url }: IncomingMessage): boolean {
  const isSigned = headers.authorization?.startsWith('AWS4-HMAC-SHA256 ') === true
  return isSigned && !/[?&]x-amz-(signature|credential)=/i.test(url!)
}

/** Whether a request is one for the token service, by what that accepts: a form that is sent to the endpoint itself. */
function isTokenExchange({ method, headers, url }: IncomingMessage): boolean {
  const isForm = /^application\/x-www-form-urlencoded\b/i.test(headers['content-type'] ?? '')
  return method === 'POST' && url === S3_PREFIX && isForm
}
