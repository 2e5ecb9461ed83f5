import type { PolicyDocument } from '../../../model/buckets/documents.js'
import { xmlText } from '../../xml/writer.js'
import { hasPublicAcl } from '../access/acl/bucket-acl.js'
import { publicAccessBlock } from '../access/acl/ownership.js'
import { authorize } from '../access/authorize.js'
import { policyOf } from '../access/decision.js'
import { Policy } from '../access/policy/policy.js'
import { xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { S3Error } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'
import { DOCUMENT_BYTES_MAX } from './configuration.js'

/** GetBucketPolicy: the text as it was put. */
export async function getBucketPolicy({ model }: S3Context, request: S3Request): Promise<S3Response> {
  const { bucket } = await authorize(model, request, { permission: 'owner', action: 's3:GetBucketPolicy' })
  const document = bucket.document('policy')
  if (!document) {
    throw new S3Error('NoSuchBucketPolicy', undefined, { extra: { BucketName: request.bucket } })
  }
  return { status: 200, headers: { 'content-type': 'application/json' }, body: document.text }
}

/** PutBucketPolicy. */
export async function putBucketPolicy({ model }: S3Context, request: S3Request): Promise<S3Response> {
  const { bucket } = await authorize(model, request, { permission: 'owner', action: 's3:PutBucketPolicy' })
  const body = await request.payload.readAll(DOCUMENT_BYTES_MAX, 'MalformedPolicy')
  if (body.length === 0) throw new S3Error('MissingRequestBodyError')
  const { blockPublicPolicy } = publicAccessBlock(bucket)
  const document = checkedPolicy({ text: decode(body), bucket: request.bucket! }, blockPublicPolicy)
  await model.buckets.setDocument(bucket, 'policy', document)
  return { status: 204 }
}

/** The document, if it is a policy. @throws S3Error MalformedPolicy; AccessDenied for a public one where these are blocked */
export function checkedPolicy(document: PolicyDocument, blockPublicPolicy: boolean): PolicyDocument {
  const policy = new Policy(document.text, document.bucket)
  if (blockPublicPolicy && policy.isPublic) {
    throw new S3Error('AccessDenied', 'Public policies are blocked by the BlockPublicPolicy setting.')
  }
  return document
}

function decode(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body)
  } catch {
    throw new S3Error('MalformedPolicy', 'This policy contains invalid Json')
  }
}

/** DeleteBucketPolicy: succeeds if there is none. */
export async function deleteBucketPolicy({ model }: S3Context, request: S3Request): Promise<S3Response> {
  const { bucket } = await authorize(model, request, { permission: 'owner', action: 's3:DeleteBucketPolicy' })
  if (bucket.document('policy') !== undefined) {
    await model.buckets.setDocument(bucket, 'policy', undefined)
  }
  return { status: 204 }
}

/**
 * GetBucketPolicyStatus: whether the bucket is public by its policy or its list. Where there is no policy,
 * AWS answers NoSuchBucketPolicy; here, as in Ceph, the list alone decides.
 */
export async function getBucketPolicyStatus(context: S3Context, request: S3Request): Promise<S3Response> {
  const { bucket } = await authorize(context.model, request, {
    permission: 'owner',
    action: 's3:GetBucketPolicyStatus',
  })
  const { ignorePublicAcls, restrictPublicBuckets } = publicAccessBlock(bucket)
  const byPolicy = !restrictPublicBuckets && policyOf(bucket)?.isPublic === true
  const isPublic = byPolicy || (!ignorePublicAcls && hasPublicAcl(context, bucket))
  return xmlResponse('PolicyStatus', xmlText('IsPublic', isPublic))
}
