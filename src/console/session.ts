import { createSignal } from 'solid-js'
import type { Credentials } from '../client/sign.js'

/** The credentials that requests are signed with. */
export interface SessionKey extends Credentials {
  /** When temporary credentials end, by this computer's clock. */
  readonly expiresMs?: number
}

/** A sign-in with an identity provider. */
export interface Login {
  readonly provider: string
  /** The name of the role that was asked for; empty: the first that fits. */
  readonly role: string
  /** Whether the admin token of the session is that of the role. */
  readonly isAdmin: boolean
  /** Of the provider, for new credentials without asking the person; kept in the tab like all of this. */
  readonly refreshToken?: string
}

/** Who uses the console: with an access key for buckets and objects, with an admin token for the cluster, or with both. */
export interface Session {
  readonly key?: SessionKey
  readonly adminToken?: string
  /** The endpoints that the admin token allows; "*" stands for all. */
  readonly scope?: readonly string[]
  /** Where the key is temporary. */
  readonly login?: Login
}

const STORED = 'carport.session'

function stored(): Session {
  try {
    return JSON.parse(sessionStorage.getItem(STORED) ?? '{}') as Session
  } catch {
    return {}
  }
}

const [current, setCurrent] = createSignal<Session>(stored())

/** The session of this tab. Secrets are kept in the tab alone, and end with it. */
export const session = current

const [ended, setEnded] = createSignal<string>()

/** Why the session is over, while its pages stay as they are until one signs in again. */
export const sessionEnd = ended

/** Says that the store takes the session's credentials no longer. */
export function endSession(reason: string): void {
  if (isSignedIn()) setEnded(reason)
}

export function signIn(more: Session): void {
  const next = more.key ? { ...withoutLogin(), ...more } : { ...current(), ...more }
  sessionStorage.setItem(STORED, JSON.stringify(next))
  setEnded(undefined)
  setCurrent(next)
}

/** What stays when another key comes: it takes the place of a temporary one, and of the rights that came with that. */
function withoutLogin(): Session {
  const { login, adminToken, scope, ...rest } = current()
  return login?.isAdmin
    ? rest
    : { ...rest, ...(adminToken !== undefined && { adminToken }), ...(scope && { scope }) }
}

/** Whether the admin token of the session allows an endpoint. */
export function may(endpoint: string): boolean {
  const { adminToken, scope } = current()
  return adminToken !== undefined && (scope === undefined || scope.includes('*') || scope.includes(endpoint))
}

export function signOut(): void {
  sessionStorage.removeItem(STORED)
  setEnded(undefined)
  setCurrent({})
}

export const isSignedIn = (): boolean => current().key !== undefined || current().adminToken !== undefined
