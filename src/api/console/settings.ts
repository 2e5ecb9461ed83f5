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
  /** Whether some role gives rights of an administrator. */
  readonly hasAdmins: boolean
  /** What the provider says of itself; null while this node could not ask it. */
  readonly metadata: ProviderMetadata | null
}

/** What a provider says of itself, checked as the configuration's own addresses are. */
export interface ProviderMetadata {
  readonly issuer: string
  readonly jwks_uri?: string
  readonly authorization_endpoint?: string
  readonly token_endpoint?: string
  readonly authorization_response_iss_parameter_supported?: boolean
  readonly id_token_signing_alg_values_supported?: readonly string[]
}

/** What the page gets for an ID token: null if the person's role has no rights of an administrator. */
export interface AdminSessionAnswer {
  readonly token: string | null
  readonly scope: readonly string[]
}
