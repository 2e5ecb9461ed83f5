/**
 * The one action of AWS's Security Token Service that is offered: AssumeRoleWithWebIdentity exchanges the token of an
 * identity provider for temporary credentials. It is served at the S3 endpoint, as POST of a form to "/".
 *
 * Known gaps and client quirks
 * - MinIO's clients put the parameters into the query, and leave RoleArn and RoleSessionName out; both are accepted.
 * - Policies by ARN are refused: there are none. An inline Policy narrows what the session may do.
 * - Of ProviderId, which is for plain OAuth 2.0 at Amazon's, the configured name or issuer of the provider is accepted.
 */
import type { Clock } from '../../util/clock.js'
import type { Log } from '../../util/log.js'
import { isoDate } from '../http/date.js'
import { Query } from '../http/query.js'
import { S3Error } from '../s3/errors.js'
import type { S3Request, S3Response } from '../s3/request.js'
import { xmlElement, xmlText } from '../xml/writer.js'
import { STS_XMLNS, StsError, stsErrorXml } from './errors.js'
import { chooseRole, roleOfArn } from './roles.js'
import type { KeyLookup } from './secret-lookup.js'
import { SESSION_POLICY_MAX, SessionPolicy } from './session-policy.js'
import type { SessionGrant, Sessions, TemporaryCredentials } from './sessions.js'
import type { WebIdentity, WebIdentityVerifier } from './web-identity.js'

const VERSION = '2011-06-15'
const BODY_BYTES_MAX = 64 * 1024
const TOKEN_CHARS_MAX = 20_000
const ROLE_ARN_CHARS_MAX = 2048
const DURATION_S = { min: 900, max: 43_200, usual: 3600 }
const SESSION_NAME = /^[\w+=,.@-]{2,64}$/

export interface StsDeps {
  clock: Clock
  log: Log
  keys: KeyLookup
  sessions: Sessions
  verifier: WebIdentityVerifier
}

/** The token service at the S3 endpoint. */
export interface StsFront {
  /** Whether a request is for STS: a POST to the endpoint itself, of a form or with an action in the query. */
  matches(request: S3Request): boolean
  /** Serves a request that matches. Never rejects: errors are answers of STS's own form. */
  serve(request: S3Request): Promise<S3Response>
}

/** The token service for the providers that `verifier` knows. */
export function createStsFront(deps: StsDeps): StsFront {
  return {
    matches: isStsRequest,
    async serve(request) {
      try {
        return answer(200, await assumeRole(deps, request))
      } catch (thrown) {
        const error =
          thrown instanceof StsError ? thrown : new StsError('InternalFailure', undefined, { cause: thrown })
        const { requestId, remoteAddress } = request
        const level = error.status < 500 ? 'debug' : 'error'
        const { code, message, cause } = error
        deps.log[level](
          { requestId, remoteAddress, code, reason: message, cause },
          'no temporary credentials issued',
        )
        return answer(error.status, stsErrorXml(error, requestId))
      }
    },
  }
}

function isStsRequest({ method, rawPath, query, headers }: S3Request): boolean {
  if (method !== 'POST' || rawPath !== '/') return false
  return /^application\/x-www-form-urlencoded\b/i.test(headers['content-type'] ?? '') || query.has('Action')
}

function answer(status: number, body: string): S3Response {
  const headers = {
    'Content-Type': 'text/xml',
    'Cache-Control': 'no-store',
    // Scripts of any origin may ask: the token decides, not the page that sends it.
    'Access-Control-Allow-Origin': '*',
  }
  return { status, headers, body }
}

interface Parameters {
  token: string
  /** The name of a role, or the id of its access key. */
  role: string | undefined
  sessionName: string | undefined
  durationS: number
  policy: string | undefined
  provider: string | undefined
}

async function assumeRole(deps: StsDeps, request: S3Request): Promise<string> {
  const parameters = checkParameters(await readParameters(request))
  const identity = await deps.verifier.verify(parameters.token)
  const { provider, subject } = identity
  if (parameters.provider !== undefined && ![provider.name, provider.issuer].includes(parameters.provider)) {
    throw new StsError('InvalidParameterValue', 'ProviderId is not the provider that the token is of.')
  }
  const role = chooseRole(provider, identity.claims, parameters.role)
  if (!role) throw new StsError('AccessDenied')
  const nowMs = deps.clock.nowMs()
  const key = await deps.keys.find(role.accessKey)
  const keyEndsMs = key?.expiresMs ?? Number.POSITIVE_INFINITY
  if (!key || keyEndsMs <= nowMs) {
    deps.log.warn(
      { provider: provider.name, accessKey: role.accessKey },
      'the access key of a role is not there',
    )
    throw new StsError('AccessDenied')
  }
  const expiresMs = Math.min(Math.floor(nowMs / 1000 + parameters.durationS) * 1000, keyEndsMs)
  const { policy } = parameters
  const grant: SessionGrant = {
    ...{ parentKeyId: key.id, expiresMs, provider: provider.name, subject },
    name: parameters.sessionName ?? nameOf(subject),
    ...(policy !== undefined && { policy }),
  }
  const credentials = deps.sessions.issue(grant)
  const { requestId, remoteAddress } = request
  const { accessKeyId } = credentials
  deps.log.info({ requestId, remoteAddress, accessKeyId, ...grant }, 'temporary credentials issued')
  return responseXml(identity, grant, credentials, requestId)
}

/** The parameters in the body, which is a form, or in the query. @throws StsError */
async function readParameters(request: S3Request): Promise<Query> {
  if (request.query.has('Action')) return request.query
  let body: Buffer
  try {
    body = await request.reader.collect(BODY_BYTES_MAX)
  } catch (cause) {
    throw new StsError('ValidationError', 'The form is too large, or was not sent in full.', { cause })
  }
  return new Query(body.toString('latin1'))
}

/** @throws StsError InvalidAction, InvalidParameterValue, MalformedPolicyDocument, PackedPolicyTooLarge, ValidationError */
function checkParameters(query: Query): Parameters {
  if (query.malformed) throw new StsError('ValidationError', 'The parameters cannot be decoded.')
  const get = (name: string) => query.get(name)
  const action = get('Action') ?? ''
  if (action !== 'AssumeRoleWithWebIdentity' || (get('Version') ?? VERSION) !== VERSION) {
    throw new StsError('InvalidAction', 'AssumeRoleWithWebIdentity of version 2011-06-15 alone is offered.')
  }
  const token = get('WebIdentityToken')
  if (!token || token.length > TOKEN_CHARS_MAX)
    throw invalid('WebIdentityToken', `up to ${TOKEN_CHARS_MAX} characters`)
  const roleArn = get('RoleArn') || undefined
  if (roleArn !== undefined && roleArn.length > ROLE_ARN_CHARS_MAX) {
    throw invalid('RoleArn', `up to ${ROLE_ARN_CHARS_MAX} characters`)
  }
  const sessionName = get('RoleSessionName') || undefined
  if (sessionName !== undefined && !SESSION_NAME.test(sessionName)) {
    throw invalid('RoleSessionName', '2 to 64 letters, digits and _+=,.@-')
  }
  const duration = get('DurationSeconds') || String(DURATION_S.usual)
  const durationS = Number(duration)
  if (!/^\d{1,9}$/.test(duration) || durationS < DURATION_S.min || durationS > DURATION_S.max) {
    throw invalid('DurationSeconds', `a whole number from ${DURATION_S.min} to ${DURATION_S.max}`)
  }
  if (query.pairs.some(([name]) => name.startsWith('PolicyArns.'))) {
    throw new StsError('InvalidParameterValue', 'PolicyArns is not offered: give a Policy.')
  }
  return {
    ...{ token, sessionName, durationS },
    role: roleArn === undefined ? undefined : roleOfArn(roleArn),
    policy: checkPolicy(get('Policy')),
    provider: get('ProviderId') || undefined,
  }
}

function checkPolicy(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  if (text.length > SESSION_POLICY_MAX) {
    throw new StsError('PackedPolicyTooLarge', `Policy may have ${SESSION_POLICY_MAX} characters at most.`)
  }
  try {
    return new SessionPolicy(text).text
  } catch (error) {
    if (!(error instanceof S3Error)) throw error
    throw new StsError('MalformedPolicyDocument', error.message, { cause: error })
  }
}

function invalid(name: string, expected: string): StsError {
  return new StsError('ValidationError', `${name} is missing or not valid: it has ${expected}.`)
}

/** The name of a session whose client gave none. */
function nameOf(subject: string): string {
  return subject.replace(/[^\w+=,.@-]/g, '_').slice(0, 64)
}

function responseXml(
  { provider, subject, audience }: WebIdentity,
  { parentKeyId, name, expiresMs }: SessionGrant,
  credentials: TemporaryCredentials,
  requestId: string,
): string {
  const result =
    xmlText('SubjectFromWebIdentityToken', subject) +
    xmlText('Audience', audience) +
    xmlElement(
      'AssumedRoleUser',
      xmlText('Arn', `arn:carport:sts:::assumed-role/${parentKeyId}/${name}`) +
        xmlText('AssumedRoleId', `${parentKeyId}:${name}`),
    ) +
    xmlElement(
      'Credentials',
      xmlText('AccessKeyId', credentials.accessKeyId) +
        xmlText('SecretAccessKey', credentials.secretAccessKey) +
        xmlText('SessionToken', credentials.sessionToken) +
        xmlText('Expiration', isoDate(expiresMs)),
    ) +
    xmlText('Provider', provider.issuer)
  return (
    `<?xml version="1.0" encoding="UTF-8"?>\n<AssumeRoleWithWebIdentityResponse xmlns="${STS_XMLNS}">` +
    xmlElement('AssumeRoleWithWebIdentityResult', result) +
    xmlElement('ResponseMetadata', xmlText('RequestId', requestId)) +
    '</AssumeRoleWithWebIdentityResponse>'
  )
}
