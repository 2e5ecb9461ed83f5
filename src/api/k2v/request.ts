import { ownText } from '../../util/text.js'
import { HttpRequest } from '../http/request.js'
import { Payload } from '../s3/payload/payload.js'
import { ANONYMOUS, type Auth, type SignedParts } from '../s3/signature/verifier.js'
import type { K2vOperation, Route } from './router.js'

/** One request to the K2V API, as the handlers see it. */
export class K2vRequest extends HttpRequest implements SignedParts {
  /** The front sets these before the handler runs. */
  auth: Auth = ANONYMOUS
  route: Route | undefined
  #payload: Payload | undefined
  #parkedKeyId: string | undefined

  override get operationName(): K2vOperation | undefined {
    return this.route?.operation
  }

  override get bucket(): string | undefined {
    return this.route?.bucket
  }

  get key(): string | undefined {
    return this.route?.partitionKey
  }

  override get keyId(): string | undefined {
    return this.auth.kind === 'key' ? this.auth.keyId : this.#parkedKeyId
  }

  /** A header by its lower-case name; undefined unless it came once. */
  header(name: string): string | undefined {
    const value = this.headers[name]
    return typeof value === 'string' ? value : undefined
  }

  override park(): void {
    super.park()
    this.#payload = undefined
    // All that the request's record still needs, without the texts of which it was cut.
    const { keyId, route } = this
    this.#parkedKeyId = keyId === undefined ? undefined : ownText(keyId)
    this.auth = ANONYMOUS
    if (route) this.route = { ...route, bucket: ownText(route.bucket), partitionKey: undefined }
  }

  /** The body, which is verified as it is read. @throws S3Error when the headers about it are wrong */
  get payload(): Payload {
    this.#payload ??= new Payload({
      reader: this.reader,
      auth: this.auth,
      header: (name) => this.header(name),
      bodyChecksums: true,
    })
    return this.#payload
  }
}
