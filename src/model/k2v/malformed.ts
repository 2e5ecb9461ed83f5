import { CarportError } from '../../util/errors.js'

/** What a call of that method is answered with whose body does not have the form of one. */
export function malformed(method: string): CarportError {
  return new CarportError('InvalidArgument', `malformed ${method}`)
}
