import { SpanStatusCode } from '@opentelemetry/api'
import type { RequestRecord } from '../../api/http/front.js'
import type { BeginRequestSpan } from '../../api/http/request-record.js'
import type { Tracing } from './tracing.js'

/** Requests that machines make all day long: nobody looks for their spans, which would hide the others. */
const UNTRACED: ReadonlySet<string | undefined> = new Set(['Metrics', 'Health', 'CheckDomain'])

/**
 * Makes a span of each request of an API. Names of attributes are OpenTelemetry's, where it has one. The query is left
 * out, as presigned URLs have their signature there.
 * @param api "s3", "web" …
 */
export function requestSpans(tracing: Tracing, api: string): BeginRequestSpan {
  return (traceparent) => {
    if (!tracing.choose()) return undefined
    const span = tracing.begin(api, traceparent)
    return {
      run: (serve) => tracing.run(span, serve),
      end(record: RequestRecord) {
        // A span that does not end is not sent.
        if (api === 'admin' && UNTRACED.has(record.operation)) return
        span.updateName(`${api} ${record.operation ?? record.method}`)
        span.setAttributes({
          'http.request.method': record.method,
          'http.response.status_code': record.status,
          'http.request.body.size': record.bytesReceived,
          'http.response.body.size': record.bytesSent,
          'url.path': record.rawPath,
          'client.address': record.remoteAddress,
          'carport.request_id': record.requestId,
          ...(record.bucket !== undefined && { 'aws.s3.bucket': record.bucket }),
          ...(record.keyId !== undefined && { 'carport.key_id': record.keyId }),
          ...(record.errorCode !== undefined && { 'error.type': record.errorCode }),
        })
        if (record.status >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
        span.end()
      },
    }
  }
}
