import type { MultiResponse } from '../../api/admin/types.js'
import { session } from '../session'
import { t } from '../texts/texts'
import { ApiError, noticeEnd, unreachable } from './errors'

export interface AdminCall {
  readonly query?: Readonly<Record<string, string>>
  readonly body?: unknown
  /** A token other than the session's. */
  readonly as?: string
}

/**
 * Tells every node to do something, and how many did.
 * @throws ApiError; Error that names the nodes that did not, when some could not
 */
export async function tellAll(endpoint: string, body: unknown): Promise<number> {
  const { success, error } = await admin<MultiResponse<unknown>>(endpoint, { query: { node: '*' }, body })
  const failed = Object.entries(error).map(([node, message]) => `${node.slice(0, 16)}: ${message}`)
  if (failed.length > 0) throw new Error(t('nodes.failed', { nodes: failed.join('; ') }))
  return Object.keys(success).length
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
