import type { PublicAccessBlock } from '../../../model/buckets/documents.js'
import { parseXml, type XmlElement } from '../../xml/reader.js'
import { xmlText } from '../../xml/writer.js'
import { authorize } from '../access/authorize.js'
import { xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { S3Error } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'
import { DOCUMENT_BYTES_MAX } from './configuration.js'

/** GetPublicAccessBlock. New buckets have none: nothing is blocked. */
export async function getPublicAccessBlock({ model }: S3Context, request: S3Request): Promise<S3Response> {
  const { bucket } = await authorize(model, request, {
    permission: 'owner',
    action: 's3:GetBucketPublicAccessBlock',
  })
  const block = bucket.document('public-access-block')
  if (!block) {
    throw new S3Error('NoSuchPublicAccessBlockConfiguration', undefined, {
      extra: { BucketName: request.bucket },
    })
  }
  return xmlResponse(
    'PublicAccessBlockConfiguration',
    xmlText('BlockPublicAcls', block.blockPublicAcls) +
      xmlText('IgnorePublicAcls', block.ignorePublicAcls) +
      xmlText('BlockPublicPolicy', block.blockPublicPolicy) +
      xmlText('RestrictPublicBuckets', block.restrictPublicBuckets),
  )
}

/** PutPublicAccessBlock: a setting that is left out is off. */
export async function putPublicAccessBlock({ model }: S3Context, request: S3Request): Promise<S3Response> {
  const { bucket } = await authorize(model, request, {
    permission: 'owner',
    action: 's3:PutBucketPublicAccessBlock',
  })
  const body = await request.payload.readAll(DOCUMENT_BYTES_MAX, 'MalformedXML')
  if (body.length === 0) throw new S3Error('MissingRequestBodyError')
  const block = readPublicAccessBlock(await parseXml(body, 'PublicAccessBlockConfiguration'))
  await model.buckets.setDocument(bucket, 'public-access-block', block)
  return { status: 200 }
}

/** A setting that is left out is off. @throws XmlError */
export function readPublicAccessBlock(root: XmlElement): PublicAccessBlock {
  return {
    blockPublicAcls: root.boolean('BlockPublicAcls') ?? false,
    ignorePublicAcls: root.boolean('IgnorePublicAcls') ?? false,
    blockPublicPolicy: root.boolean('BlockPublicPolicy') ?? false,
    restrictPublicBuckets: root.boolean('RestrictPublicBuckets') ?? false,
  }
}

/** DeletePublicAccessBlock: succeeds if there is none. */
export async function deletePublicAccessBlock({ model }: S3Context, request: S3Request): Promise<S3Response> {
  const { bucket } = await authorize(model, request, {
    permission: 'owner',
    action: 's3:PutBucketPublicAccessBlock',
  })
  if (bucket.document('public-access-block') !== undefined) {
    await model.buckets.setDocument(bucket, 'public-access-block', undefined)
  }
  return { status: 204 }
}
