import type { ConsoleSettings } from '../api/console/settings.js'

let known: ConsoleSettings = { version: '', region: 'garage', s3Endpoint: null, s3Port: null, providers: [] }

/** Asks the node what it says of itself before anybody signs in. Without an answer, what all nodes have in common counts. */
export async function loadSettings(): Promise<void> {
  const response = await fetch('/console/settings.json').catch(() => undefined)
  if (response?.ok) known = (await response.json()) as ConsoleSettings
}

export const settings = (): ConsoleSettings => known

/** The address of the S3 API for links that others follow. */
export function s3Endpoint(): string {
  const { s3Endpoint: told, s3Port } = known
  return told ?? `${location.protocol}//${location.hostname}${s3Port === null ? '' : `:${s3Port}`}`
}
