import type { AdminSessionAnswer } from '../../api/console/settings.js'
import { ApiError, unreachable } from './errors'

/**
 * The rights of an administrator that the role of somebody who signed in with an identity provider has; undefined if it has none.
 * @param idToken the provider's
 * @param role its name; empty: the first that fits
 * @throws ApiError
 */
export async function adminSession(
  idToken: string,
  role: string,
): Promise<{ token: string; scope: readonly string[] } | undefined> {
  const body = new URLSearchParams({ token: idToken, ...(role !== '' && { role }) })
  let response: Response
  try {
    response = await fetch('/console/admin-session', { method: 'POST', body, cache: 'no-store' })
  } catch {
    throw unreachable()
  }
  const answer = (await response.json().catch(() => ({}))) as Partial<AdminSessionAnswer> & {
    code?: string
    message?: string
  }
  if (!response.ok)
    throw new ApiError(response.status, answer.code ?? String(response.status), answer.message ?? '')
  return answer.token ? { token: answer.token, scope: answer.scope ?? [] } : undefined
}
