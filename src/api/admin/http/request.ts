import { HttpRequest } from '../../http/request.js'
import type { Caller } from './authorize.js'

/** A request to the admin API. */
export class AdminRequest extends HttpRequest {
  /** The endpoint, once it is known. */
  endpoint: string | undefined
  /** Who sent it, once that is known; anybody may send some. */
  caller: Caller | undefined

  override get operationName(): string | undefined {
    return this.endpoint
  }

  override get keyId(): string | undefined {
    return typeof this.caller === 'object' ? this.caller.id : this.caller
  }
}
