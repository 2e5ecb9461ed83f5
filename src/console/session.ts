import { createSignal } from 'solid-js'
import type { Credentials } from '../client/sign.js'

/** Who uses the console: with an access key for buckets and objects, with an admin token for the cluster, or with both. */
export interface Session {
  readonly key?: Credentials
  readonly adminToken?: string
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

export function signIn(more: Session): void {
  const next = { ...current(), ...more }
  sessionStorage.setItem(STORED, JSON.stringify(next))
  setCurrent(next)
}

export function signOut(): void {
  sessionStorage.removeItem(STORED)
  setCurrent({})
}

export const isSignedIn = (): boolean => current().key !== undefined || current().adminToken !== undefined
