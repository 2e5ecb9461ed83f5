import { setMaxListeners } from 'node:events'

/**
 * The controller of a signal that ends a service and all that it has under way. Node warns of a leak from eleven listeners
 * on, but a service has as many as calls at once, such as one for each block that resync offers to the others. That
 * none of them stays is what testing/abort-listeners.test.ts checks.
 */
export function sharedAbortController(): AbortController {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}
