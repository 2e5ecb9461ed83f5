/** The endpoints that ask for no token: the health for load balancers, and the domains for proxies with certificates. */
import type { ClusterHealth } from '../../../cluster/health.js'
import type { Model } from '../../../model/model.js'
import type { Answer } from '../../http/answer.js'
import { AdminError } from './errors.js'

const HEALTH_TEXT: Record<ClusterHealth['status'], string> = {
  healthy: 'Carport is fully operational',
  degraded: 'Carport is operational, but some storage nodes are unavailable',
  unavailable: 'A quorum is not available for some or all partitions: reads and writes will fail',
}

/** 200 while all partitions have a quorum, else 503. */
export function healthAnswer({ status }: ClusterHealth): Answer {
  const body = `${HEALTH_TEXT[status]}\n/v2/GetClusterHealth tells more\n`
  return { status: status === 'unavailable' ? 503 : 200, headers: { 'Content-Type': 'text/plain' }, body }
}

export interface Domains {
  /** Domain of the S3 API, below which are buckets; null without one. */
  s3Root: string | null
  /** Domain below which web sites are; null without one. */
  webRoot: string | null
}

/**
 * Whether a domain is one that this cluster serves: for proxies that ask before they get a certificate.
 * @throws AdminError 400 if it is not
 */
export async function checkDomain(
  model: Model,
  domains: Domains,
  domain: string | undefined,
): Promise<Answer> {
  if (domain === undefined || domain === '' || domain.length > 253) {
    throw new AdminError(400, 'InvalidRequest', 'expected /check?domain=, with a domain name')
  }
  const host = domain.toLowerCase().replace(/\.$/, '')
  const s3Bucket = bucketBelow(host, domains.s3Root)
  const name = s3Bucket ?? bucketBelow(host, domains.webRoot) ?? host
  const bucket = await model.buckets.find(name, undefined)
  const isServed = bucket && (s3Bucket !== undefined || bucket.document('website') !== undefined)
  if (!isServed) {
    throw new AdminError(400, 'InvalidRequest', `Domain '${host}' is not managed by Carport`)
  }
  return {
    status: 200,
    headers: { 'Content-Type': 'text/plain; charset=utf-8' },
    body: `Domain '${host}' is managed by Carport`,
  }
}

function bucketBelow(host: string, root: string | null): string | undefined {
  if (root === null || !host.endsWith(`.${root}`)) return undefined
  return host.slice(0, -root.length - 1)
}
