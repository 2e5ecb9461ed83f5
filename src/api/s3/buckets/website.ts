import { REWRITES, type RoutingRule, type WebsiteDocument } from '../../../model/buckets/documents.js'
import type { XmlElement } from '../../xml/reader.js'
import { xmlElement, xmlText } from '../../xml/writer.js'
import { xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { invalidArgument, S3Error } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'
import { configurationBody, configuredBucket, deleteDocument, needDocument } from './configuration.js'

/** AWS takes 50. Each request is held against them in turn. */
const ROUTING_RULES_MAX = 1000
const BODY_BYTES_MAX = 512 * 1024
/** The index of configurations that name none. */
const DEFAULT_INDEX = 'index.html'
/** A host name or address, perhaps with a port. */
const HOST = /^[A-Za-z0-9._~:[\]-]{1,253}$/

type Protocol = 'http' | 'https'

/**
 * Reads a WebsiteConfiguration.
 * @throws S3Error MalformedXML, InvalidArgument, InvalidRequest as AWS answers them
 */
export function parseWebsite(root: XmlElement): WebsiteDocument {
  root.only('IndexDocument', 'ErrorDocument', 'RedirectAllRequestsTo', 'RoutingRules')
  const redirectAll = root.child('RedirectAllRequestsTo')
  if (redirectAll) {
    if (root.children.length > 1) {
      throw new S3Error(
        'InvalidRequest',
        'RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.',
      )
    }
    const hostName = checkedHost(redirectAll.only('HostName', 'Protocol').needText('HostName').trim())
    const protocol = protocolOf(redirectAll)
    return {
      indexDocument: DEFAULT_INDEX,
      redirectAllRequestsTo: { hostName, ...(protocol && { protocol }) },
    }
  }
  const routingRules = root.child('RoutingRules')?.only('RoutingRule').all('RoutingRule').map(parseRule)
  const index = root.child('IndexDocument')
  if (!index && !routingRules?.length) {
    throw invalidArgument(
      'A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty',
      'IndexDocument',
      'null',
    )
  }
  const suffix = index?.only('Suffix').needText('Suffix') ?? DEFAULT_INDEX
  if (suffix === '' || suffix.includes('/')) {
    throw invalidArgument('The IndexDocument Suffix is not well formed', 'IndexDocument', suffix)
  }
  const errorDocument = root.child('ErrorDocument')?.only('Key').needText('Key')
  if (errorDocument === '') {
    throw invalidArgument('The ErrorDocument Key is not well formed', 'ErrorDocument', '')
  }
  if (routingRules && routingRules.length > ROUTING_RULES_MAX) {
    throw new S3Error(
      'InvalidRequest',
      `The number of routing rules must not exceed ${ROUTING_RULES_MAX}. Number of routing rules provided: ${routingRules.length}.`,
    )
  }
  return {
    indexDocument: suffix,
    ...(errorDocument !== undefined && { errorDocument }),
    ...(routingRules && routingRules.length > 0 && { routingRules }),
  }
}

function parseRule(element: XmlElement): RoutingRule {
  element.only('Condition', 'Redirect')
  const rule: RoutingRule = { redirect: parseRedirect(element.need('Redirect')) }
  const condition = element.child('Condition')
  if (!condition) return rule
  condition.only('KeyPrefixEquals', 'HttpErrorCodeReturnedEquals')
  if (condition.children.length === 0) {
    throw new S3Error(
      'InvalidRequest',
      "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present.",
    )
  }
  const keyPrefix = condition.text('KeyPrefixEquals')
  const errorCode = condition.integer('HttpErrorCodeReturnedEquals')
  if (errorCode !== undefined && (errorCode < 400 || errorCode > 599)) {
    throw new S3Error(
      'InvalidRequest',
      `The provided HTTP error code (${errorCode}) is not valid. Valid codes are 4XX or 5XX.`,
    )
  }
  return {
    ...rule,
    condition: {
      ...(keyPrefix !== undefined && { keyPrefixEquals: keyPrefix }),
      ...(errorCode !== undefined && { httpErrorCodeReturnedEquals: errorCode }),
    },
  }
}

function parseRedirect(element: XmlElement): RoutingRule['redirect'] {
  element.only('HostName', 'HttpRedirectCode', 'Protocol', 'ReplaceKeyPrefixWith', 'ReplaceKeyWith')
  if (element.children.length === 0) throw new S3Error('MalformedXML')
  const replacePrefix = element.text('ReplaceKeyPrefixWith')
  const replaceKey = element.text('ReplaceKeyWith')
  if (replacePrefix !== undefined && replaceKey !== undefined) {
    throw new S3Error('InvalidRequest', 'You can only define ReplaceKeyPrefix or ReplaceKey but not both.')
  }
  const code = element.integer('HttpRedirectCode')
  if (code !== undefined && (code < 301 || code > 399) && !REWRITES.includes(code)) {
    throw new S3Error(
      'InvalidRequest',
      `The provided HTTP redirect code (${code}) is not valid. Valid codes are 3XX except 300, 200 and 404.`,
    )
  }
  const protocol = protocolOf(element)
  const host = element.text('HostName')
  const hostName = host === undefined ? undefined : checkedHost(host.trim())
  if (code !== undefined && REWRITES.includes(code) && (hostName !== undefined || protocol !== undefined)) {
    throw new S3Error(
      'InvalidRequest',
      `An HTTP redirect code of ${code} sends a page of this site: it goes with neither HostName nor Protocol.`,
    )
  }
  return {
    ...(protocol && { protocol }),
    ...(hostName !== undefined && { hostName }),
    ...(replacePrefix !== undefined && { replaceKeyPrefixWith: replacePrefix }),
    ...(replaceKey !== undefined && { replaceKeyWith: replaceKey }),
    ...(code !== undefined && { httpRedirectCode: code }),
  }
}

/** @throws S3Error InvalidRequest for a name that a header cannot carry, or that is no host's */
function checkedHost(name: string): string {
  if (HOST.test(name)) return name
  throw new S3Error('InvalidRequest', `The HostName "${name}" is not valid.`)
}

function protocolOf(element: XmlElement): Protocol | undefined {
  const protocol = element.text('Protocol')?.trim()
  if (protocol === undefined || protocol === 'http' || protocol === 'https') return protocol
  throw new S3Error(
    'InvalidRequest',
    'Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.',
  )
}

/** The content of a WebsiteConfiguration. */
export function websiteXml(website: WebsiteDocument): string {
  const all = website.redirectAllRequestsTo
  if (all) {
    return xmlElement(
      'RedirectAllRequestsTo',
      xmlText('HostName', all.hostName) + xmlText('Protocol', all.protocol),
    )
  }
  const rules = (website.routingRules ?? []).map(({ condition, redirect }) =>
    xmlElement(
      'RoutingRule',
      (condition
        ? xmlElement(
            'Condition',
            xmlText('KeyPrefixEquals', condition.keyPrefixEquals) +
              xmlText('HttpErrorCodeReturnedEquals', condition.httpErrorCodeReturnedEquals),
          )
        : '') +
        xmlElement(
          'Redirect',
          xmlText('Protocol', redirect.protocol) +
            xmlText('HostName', redirect.hostName) +
            xmlText('ReplaceKeyPrefixWith', redirect.replaceKeyPrefixWith) +
            xmlText('ReplaceKeyWith', redirect.replaceKeyWith) +
            xmlText('HttpRedirectCode', redirect.httpRedirectCode),
        ),
    ),
  )
  return (
    xmlElement('IndexDocument', xmlText('Suffix', website.indexDocument)) +
    (website.errorDocument === undefined
      ? ''
      : xmlElement('ErrorDocument', xmlText('Key', website.errorDocument))) +
    (rules.length > 0 ? xmlElement('RoutingRules', rules.join('')) : '')
  )
}

/** PutBucketWebsite. */
export async function putBucketWebsite(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:PutBucketWebsite')
  const website = parseWebsite(await configurationBody(request, 'WebsiteConfiguration', BODY_BYTES_MAX))
  // S3 has no word for it, so it is not S3's to take away.
  const consistencyMode = bucket.document('website')?.consistencyMode
  const document = { ...website, ...(consistencyMode && { consistencyMode }) }
  await context.model.buckets.setDocument(bucket, 'website', document)
  return { status: 200 }
}

/** GetBucketWebsite. */
export async function getBucketWebsite(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:GetBucketWebsite')
  const website = needDocument(bucket, 'website', 'NoSuchWebsiteConfiguration', request)
  return xmlResponse('WebsiteConfiguration', websiteXml(website))
}

/** DeleteBucketWebsite. */
export function deleteBucketWebsite(context: S3Context, request: S3Request): Promise<S3Response> {
  return deleteDocument(context, request, 's3:DeleteBucketWebsite', 'website')
}
