import { CarportError } from '../../../util/errors.js'

/** The kinds of things that administrators ask for by name. */
export type ThingKind = 'Bucket' | 'AccessKey' | 'AdminToken' | 'Node' | 'Key' | 'Worker' | 'Block'

/** An administrator asked for something that is not there. */
export class UnknownThing extends CarportError {
  constructor(
    readonly kind: ThingKind,
    message: string,
  ) {
    super('NotFound', message)
  }
}
