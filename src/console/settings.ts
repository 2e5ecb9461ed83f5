/** What the node says of itself before anybody signs in. */
export interface Settings {
  readonly version: string
  readonly region: string
  readonly s3Endpoint: string | null
  readonly s3Port: number | null
}

let known: Settings = { version: '', region: 'garage', s3Endpoint: null, s3Port: null }

export async function loadSettings(): Promise<void> {
  const response = await fetch('/console/settings.json')
  if (response.ok) known = (await response.json()) as Settings
}

export const settings = (): Settings => known

/** The address of the S3 API for links that others follow. */
export function s3Endpoint(): string {
  const { s3Endpoint: told, s3Port } = known
  return told ?? `${location.protocol}//${location.hostname}${s3Port === null ? '' : `:${s3Port}`}`
}
