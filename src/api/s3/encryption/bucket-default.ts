import type { EncryptionDocument } from '../../../model/buckets/documents.js'
import type { XmlElement } from '../../xml/reader.js'
import { xmlElement, xmlText } from '../../xml/writer.js'
import { xmlResponse } from '../answers.js'
import {
  configurationBody,
  configuredBucket,
  deleteDocument,
  needDocument,
} from '../buckets/configuration.js'
import type { S3Context } from '../context.js'
import { S3Error } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'
import { kmsRefused, masterKeyMissing } from './requests.js'

/** GetBucketEncryption: the configuration as it was put; without one, nothing is encrypted by default. */
export async function getBucketEncryption(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:GetEncryptionConfiguration')
  const { algorithm, bucketKey, blocksCustomerKeys } = needDocument(
    bucket,
    'encryption',
    'ServerSideEncryptionConfigurationNotFoundError',
    request,
  )
  return xmlResponse(
    'ServerSideEncryptionConfiguration',
    xmlElement(
      'Rule',
      (algorithm
        ? xmlElement('ApplyServerSideEncryptionByDefault', xmlText('SSEAlgorithm', algorithm))
        : '') +
        xmlText('BucketKeyEnabled', bucketKey ?? false) +
        (blocksCustomerKeys ? xmlElement('BlockedEncryptionTypes', xmlText('EncryptionType', 'SSE-C')) : ''),
    ),
  )
}

/** PutBucketEncryption: accepts AES256 as the default if there is a master key. */
export async function putBucketEncryption(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:PutEncryptionConfiguration')
  const root = await configurationBody(request, 'ServerSideEncryptionConfiguration')
  const document = readEncryption(root, context.masterKeys.available)
  await context.model.buckets.setDocument(bucket, 'encryption', document)
  return { status: 200 }
}

/**
 * @param hasMasterKey whether this node can encrypt
 * @throws S3Error MalformedXML, InvalidArgument, NotImplemented (KMS, or AES256 without a master key)
 */
export function readEncryption(root: XmlElement, hasMasterKey: boolean): EncryptionDocument {
  const document = readDocument(root)
  if (document.algorithm && !hasMasterKey) throw masterKeyMissing()
  return document
}

function readDocument(root: XmlElement): EncryptionDocument {
  const rules = root.only('Rule').all('Rule')
  if (rules.length !== 1) throw new S3Error('MalformedXML')
  const [rule] = rules as [XmlElement]
  rule.only('ApplyServerSideEncryptionByDefault', 'BucketKeyEnabled', 'BlockedEncryptionTypes')
  const byDefault = rule.child('ApplyServerSideEncryptionByDefault')
  const algorithm = byDefault?.only('SSEAlgorithm', 'KMSMasterKeyID').needText('SSEAlgorithm').trim()
  if (algorithm === 'aws:kms' || algorithm === 'aws:kms:dsse') throw kmsRefused()
  if (algorithm !== undefined && algorithm !== 'AES256') throw new S3Error('MalformedXML')
  if (byDefault?.child('KMSMasterKeyID')) {
    throw new S3Error(
      'InvalidArgument',
      'a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse',
    )
  }
  const bucketKey = rule.boolean('BucketKeyEnabled')
  const blocked = rule.child('BlockedEncryptionTypes')?.only('EncryptionType').all('EncryptionType')
  const types = blocked?.map(({ content }) => content.trim()) ?? []
  if (types.some((type) => type !== 'SSE-C' && type !== 'NONE')) throw new S3Error('MalformedXML')
  return {
    ...(algorithm && { algorithm: 'AES256' as const }),
    ...(bucketKey !== undefined && { bucketKey }),
    ...(types.includes('SSE-C') && { blocksCustomerKeys: true }),
  }
}

/** DeleteBucketEncryption. */
export function deleteBucketEncryption(context: S3Context, request: S3Request): Promise<S3Response> {
  return deleteDocument(context, request, 's3:PutEncryptionConfiguration', 'encryption')
}
