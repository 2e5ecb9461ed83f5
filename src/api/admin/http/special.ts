/** The endpoints that ask for no token: the health for load balancers, and the domains for proxies with certificates. */
import type { ClusterHealth } from '../../../cluster/health.js'
import type { Model } from '../../../model/model.js'
import type { Answer } from '../../http/answer.js'
import { bucketNamesOf, hostNameOf } from '../../http/host.js'
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
  const host = hostNameOf(domain)
  if (host === undefined || domain.includes(':') || !(await isServed(model, domains, host))) {
    throw new AdminError(400, 'InvalidRequest', `Domain '${host ?? domain}' is not managed by Carport`)
  }
  return {
    status: 200,
    headers: { 'Content-Type': 'text/plain; charset=utf-8' },
    body: `Domain '${host}' is managed by Carport`,
  }
}

async function isServed({ buckets }: Model, { s3Root, webRoot }: Domains, host: string): Promise<boolean> {
  if (s3Root !== null && host.endsWith(`.${s3Root}`)) {
    return (await buckets.find(host.slice(0, -s3Root.length - 1), undefined)) !== undefined
  }
  for (const name of bucketNamesOf(host, webRoot)) {
    const bucket = await buckets.find(name, undefined)
    if (bucket?.document('website') !== undefined) return true
  }
  return false
}
