import type { Model } from '../../model/model.js'
import { escapeXml, xmlDocument } from '../xml/writer.js'
import { invalidArgument } from './errors.js'
import type { S3Response } from './request.js'

/** A page size: larger ones count as `limit`. @throws S3Error InvalidArgument */
export function parseMax(text: string | undefined, name: string, limit: number): number {
  if (text === undefined || text === '') return limit
  if (!/^\d{1,10}$/.test(text) || Number(text) > 2 ** 31 - 1) {
    throw invalidArgument(`Provided ${name} not an integer or within integer range`, name, text)
  }
  return Math.min(Number(text), limit)
}

/** Keys in listings with encoding-type=url: like a query's values, but "/" stays as it is. */
export function percentEncodeKey(text: string): string {
  return encodeURIComponent(text).replaceAll('%2F', '/')
}

/** Owners are access keys: shown with their id, and the key's name if it is still there. */
export function ownerXml(model: Model, owner: string, element: 'Owner' | 'Initiator' = 'Owner'): string {
  const name = owner === '' ? undefined : model.keys.local(owner)?.name
  return `<${element}><ID>${escapeXml(owner)}</ID><DisplayName>${escapeXml(name ?? owner)}</DisplayName></${element}>`
}

export function xmlResponse(root: string, inner: string, headers?: Record<string, string>): S3Response {
  return xmlBody(xmlDocument(root, inner), headers)
}

export function xmlBody(body: string | Buffer, headers?: Record<string, string>): S3Response {
  return { status: 200, headers: { 'content-type': 'application/xml', ...headers }, body }
}
