/** What the page needs to know of the node before anybody signs in. */
export interface ConsoleSettings {
  readonly version: string
  readonly region: string
  /** The address of the S3 API for links that others follow; null: this host's, with that port. */
  readonly s3Endpoint: string | null
  readonly s3Port: number | null
  /** The identity providers at which one may sign in. */
  readonly providers: readonly ConsoleProvider[]
}

/** An identity provider as the page knows it. */
export interface ConsoleProvider {
  readonly name: string
  readonly issuer: string
  readonly clientId: string
  readonly scope: string
  /** Names of roles that one may ask for. */
  readonly roles: readonly string[]
}
