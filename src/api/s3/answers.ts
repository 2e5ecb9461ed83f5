import type { Model } from '../../model/model.js'
import { escapeXml, xmlDocument } from '../xml/writer.js'
import { invalidArgument } from './errors.js'
import type { S3Response } from './request.js'

/** A page size; values above `limit` become `limit`. @throws S3Error InvalidArgument */
export function parseMax(text: string | undefined, name: string, limit: number): number {
  if (text === undefined || text === '') return limit
  if (!/^\d{1,10}$/.test(text) || Number(text) > 2 ** 31 - 1) {
    throw invalidArgument(`Provided ${name} not an integer or within integer range`, name, text)
  }
  return Math.min(Number(text), limit)
}

/** Encodes a key for listings with encoding-type=url: like a value in a query, but "/" stays. */
export function percentEncodeKey(text: string): string {
  return encodeURIComponent(text).replaceAll('%2F', '/')
}

/** An owner, who is an access key: its id, and its name if the key still exists. */
export function ownerXml(model: Model, owner: string, element: 'Owner' | 'Initiator' = 'Owner'): string {
  const name = owner === '' ? undefined : model.keys.local(owner)?.name
  return `<${element}><ID>${escapeXml(owner)}</ID><DisplayName>${escapeXml(name ?? owner)}</DisplayName></${element}>`
}

/** An answer with an XML document in S3's namespace; `inner` is XML already. */
export function xmlResponse(root: string, inner: string, headers?: Record<string, string>): S3Response {
  return xmlBody(xmlDocument(root, inner), headers)
}

/** An answer with an XML document that is complete already. */
export function xmlBody(body: string | Buffer, headers?: Record<string, string>): S3Response {
  return { status: 200, headers: { 'content-type': 'application/xml', ...headers }, body }
}
