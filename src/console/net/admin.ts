import { session } from '../session'
import { ApiError, noticeEnd, unreachable } from './errors'

export interface AdminCall {
  readonly query?: Readonly<Record<string, string>>
  readonly body?: unknown
  /** A token other than the session's. */
  readonly as?: string
}

/** Asks an endpoint of the admin API v2. @throws ApiError */
export async function admin<T>(endpoint: string, { query, body, as }: AdminCall = {}): Promise<T> {
  const token = as ?? session().adminToken
  if (token === undefined) throw new ApiError(401, 'AccessDenied', 'no admin token')
  const text = query ? `?${new URLSearchParams(query)}` : ''
  let response: Response
  try {
    response = await fetch(`/v2/${endpoint}${text}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      cache: 'no-store',
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
  } catch {
    throw unreachable()
  }
  const answer = (await response.json().catch(() => ({}))) as T & { code?: string; message?: string }
  if (response.ok) return answer
  const error = new ApiError(
    response.status,
    answer.code ?? String(response.status),
    answer.message ?? `status ${response.status}`,
  )
  if (as === undefined) noticeEnd(error)
  throw error
}
