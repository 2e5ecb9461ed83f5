import { sleep } from '../../../util/clock.js'
import { isoDate } from '../../http/date.js'
import { escapeXml, xmlText } from '../../xml/writer.js'
import { callerOf } from '../access/authorize.js'
import { checkSessionOutside } from '../access/session.js'
import { ownerXml, parseMax, xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { invalidArgument } from '../errors.js'
import { readToken, writeToken } from '../listings/token.js'
import type { S3Request, S3Response } from '../request.js'

/** Buckets that are looked at in one turn of the event loop. */
const TURN_BUCKETS = 500

/** ListBuckets: the buckets in which the caller has any permission; none for anonymous callers. */
export async function listBuckets(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model, clock } = context
  const caller = callerOf(model, request)
  checkSessionOutside(request, caller, 's3:ListAllMyBuckets')
  const { query } = request
  const prefix = query.get('prefix') ?? ''
  const limit = parseMax(query.get('max-buckets'), 'max-buckets', 10_000)
  if (query.has('max-buckets') && limit < 1) {
    throw invalidArgument('max-buckets must be between 1 and 10000', 'max-buckets', query.get('max-buckets'))
  }
  const token = query.get('continuation-token')
  const from = token === undefined || token === '' ? '' : readToken(token).toString()
  const found: { name: string; createdMs: number }[] = []
  const locals = new Map([...(caller?.localAliases ?? [])].map(([name, id]) => [id, name]))
  let looks = 0
  // The store has one region, for which us-east-1 stands too, as in signatures.
  const region = query.get('bucket-region') || context.region
  const isElsewhere = region !== context.region && region !== 'us-east-1'
  for (const id of isElsewhere ? [] : (caller?.permissions.keys() ?? [])) {
    if (++looks % TURN_BUCKETS === 0) await sleep(clock, 0)
    const bucket = model.buckets.byId(Buffer.from(id, 'hex'))
    const name = locals.get(id) ?? bucket?.aliases[0]
    if (bucket && name !== undefined) found.push({ name, createdMs: bucket.createdMs })
  }
  const matching = found
    .filter(({ name }) => name.startsWith(prefix) && name >= from)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  const page = matching.slice(0, limit)
  const next = matching[limit]
  const buckets = page.map(
    (b) =>
      `<Bucket><Name>${escapeXml(b.name)}</Name><CreationDate>${isoDate(b.createdMs)}</CreationDate></Bucket>`,
  )
  return xmlResponse(
    'ListAllMyBucketsResult',
    ownerXml(model, caller?.id ?? '') +
      `<Buckets>${buckets.join('')}</Buckets>` +
      (query.has('prefix') ? xmlText('Prefix', prefix) : '') +
      (next ? xmlText('ContinuationToken', writeToken(Buffer.from(next.name))) : ''),
  )
}
