import { CarportError } from './errors.js'

/**
 * Throws unless `condition` holds. For mistakes of the program that would otherwise become silent corruption (a wrong
 * offset, length or quorum); input from outside is checked where it comes in, with an error that names the fault.
 * @throws CarportError Internal
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new CarportError('Internal', message)
}
