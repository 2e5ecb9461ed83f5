import { AdminError } from '../admin/http/errors.js'
import type { Answer } from '../http/answer.js'
import { Query } from '../http/query.js'
import type { HttpRequest } from '../http/request.js'
import type { AdminSessions } from '../sts/admin-sessions.js'
import { StsError } from '../sts/errors.js'
import { roleOfArn } from '../sts/roles.js'
import type { AdminSessionAnswer } from './settings.js'

/** Where the page exchanges an ID token for the rights of an administrator, below /console/. */
export const SIGN_IN_PATH = 'admin-session'

const BODY_BYTES_MAX = 64 * 1024
const TOKEN_CHARS_MAX = 20_000

/**
 * Exchanges an ID token (form parameters "token", and "role" if one is asked for) for a session of the admin API. The token alone
 * authorizes the request, whoever sends it.
 * @throws AdminError 400, 403; BodyError
 */
export async function signInAnswer(request: HttpRequest, sessions: AdminSessions): Promise<Answer> {
  const form = new Query((await request.reader.collect(BODY_BYTES_MAX)).toString('latin1'))
  const token = form.get('token') ?? ''
  if (form.malformed || token === '' || token.length > TOKEN_CHARS_MAX)
    throw new AdminError(400, 'InvalidRequest', 'the form has no token')
  const role = form.get('role') || undefined
  try {
    const begun = await sessions.begin(token, role === undefined ? undefined : roleOfArn(role))
    const answer: AdminSessionAnswer = begun
      ? { token: begun.text, scope: begun.session.scope }
      : { token: null, scope: [] }
    const headers = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }
    return { status: 200, headers, body: JSON.stringify(answer) }
  } catch (error) {
    if (!(error instanceof StsError)) throw error
    const status = error.code === 'AccessDenied' ? 403 : error.status
    throw new AdminError(status, error.code, error.message, { cause: error })
  }
}
