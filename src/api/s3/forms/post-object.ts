import { uriEncode } from '../../http/uri.js'
import { xmlText } from '../../xml/writer.js'
import { findBucket } from '../access/authorize.js'
import type { S3Context } from '../context.js'
import { invalidArgument, S3Error } from '../errors.js'
import { putObject } from '../objects/write.js'
import type { S3Request, S3Response } from '../request.js'
import { ANONYMOUS, type Auth } from '../signature/verifier.js'
import { FormBody, type PostForm, putHeaders, readPostForm } from './post-form.js'
import { checkPostPolicy, parsePostPolicy } from './post-policy.js'

const ANY_LENGTH = { min: 0, max: Number.POSITIVE_INFINITY }

/**
 * PostObject: an upload by a browser's form. The form's policy says who allows which upload; the rest is a
 * PutObject with the form's fields as headers and its file as the body, which is stored while it arrives.
 */
export async function postObject(context: S3Context, request: S3Request): Promise<S3Response> {
  if (request.auth.kind === 'key') {
    throw new S3Error('InvalidRequest', 'A POST of a form is signed by its fields, not by the request.')
  }
  // The form's fields say who is asking; that there is such a bucket is known before they are read.
  await findBucket(context.model, request)
  const form = await readPostForm(request)
  const { auth, policy } = await authenticate(context, form)
  const range = policy
    ? checkPostPolicy(policy, { ...form, bucket: request.bucket! }, request.timeMs)
    : ANY_LENGTH
  const headers = await putHeaders(request, form)
  request.auth = auth
  const put = request.asPut({ key: form.key, auth, headers, reader: new FormBody(form.file, range) })
  return answer(request, form, await putObject(context, put, 'Post'))
}

/** The key that signed the form's policy; anonymous when the form has neither. @throws S3Error */
async function authenticate(
  { verifier }: S3Context,
  { fields }: PostForm,
): Promise<{ auth: Auth; policy: ReturnType<typeof parsePostPolicy> | undefined }> {
  const base64 = fields.get('policy')
  const isV4 = ['x-amz-signature', 'x-amz-credential', 'x-amz-algorithm'].some((name) => fields.has(name))
  const isV2 = fields.has('awsaccesskeyid') || fields.has('signature')
  const need = (name: string) => {
    const value = fields.get(name)
    if (value !== undefined && value !== '') return value
    throw invalidArgument(
      `Bucket POST must contain a field named '${name}'.  If it is specified, please check the order of the fields.`,
      name,
      '',
    )
  }
  if (base64 === undefined && !isV4 && !isV2) return { auth: ANONYMOUS, policy: undefined }
  const policy = need('policy')
  const sessionToken = fields.get('x-amz-security-token')
  const session = sessionToken === undefined ? {} : { sessionToken }
  const auth =
    isV2 && !isV4
      ? await verifier.verifyPostPolicyV2({
          policy,
          keyId: need('awsaccesskeyid'),
          signature: need('signature'),
          ...session,
        })
      : await verifier.verifyPostPolicy({
          policy,
          algorithm: need('x-amz-algorithm'),
          credential: need('x-amz-credential'),
          date: need('x-amz-date'),
          signature: need('x-amz-signature'),
          ...session,
        })
  return { auth, policy: parsePostPolicy(policy) }
}

/** The answer that the form asks for. */
function answer(request: S3Request, { fields, key }: PostForm, put: S3Response): S3Response {
  const bucket = request.bucket!
  const etag = String(put.headers?.etag ?? '')
  const redirect = redirectTarget(fields.get('success_action_redirect') ?? fields.get('redirect'))
  if (redirect) {
    const query = `bucket=${uriEncode(bucket)}&key=${uriEncode(key)}&etag=${uriEncode(etag)}`
    const location = `${redirect}${redirect.includes('?') ? '&' : '?'}${query}`
    return { status: 303, headers: { ...put.headers, Location: location } }
  }
  const scheme = request.secure ? 'https' : 'http'
  const path = request.rawPath === '/' ? `/${uriEncode(key, true)}` : `/${bucket}/${uriEncode(key, true)}`
  const location = `${scheme}://${request.headers.host ?? ''}${path}`
  const headers = { ...put.headers, Location: location }
  switch (fields.get('success_action_status')) {
    case '200':
      return { status: 200, headers }
    case '201':
      return {
        status: 201,
        headers: { ...headers, 'Content-Type': 'application/xml' },
        body: `<?xml version="1.0" encoding="UTF-8"?>\n<PostResponse>${
          xmlText('Location', location) +
          xmlText('Bucket', bucket) +
          xmlText('Key', key) +
          xmlText('ETag', etag)
        }</PostResponse>`,
      }
    default:
      return { status: 204, headers }
  }
}

/** The URL to send the browser to; as in AWS, a value that is no URL is ignored. */
function redirectTarget(value: string | undefined): string | undefined {
  if (value === undefined || !/^https?:\/\//i.test(value) || !URL.canParse(value)) return undefined
  return value.replace(/[^\x21-\x7e]/gu, (char) => encodeURIComponent(char)).replace(/#.*$/s, '')
}
