import type { Service } from './service.js'

/**
 * Services that need each other in the order in which they are listed: they start in that order and stop in the
 * reverse one, so that a service finds what it needs for as long as it runs.
 */
export class Services implements Service {
  readonly #running: Service[] = []

  constructor(
    readonly name: string,
    private readonly services: readonly Service[],
  ) {}

  /** Starts all. If one fails, those before it are stopped again. @throws what that one failed with */
  async start(): Promise<void> {
    for (const service of this.services) {
      // Counted before it is ready: a service that failed half-way has something to release, too.
      this.#running.push(service)
      try {
        await service.start()
      } catch (error) {
        await this.stop().catch(() => {})
        throw error
      }
    }
  }

  /** Stops all that was started, also when one fails to stop. @throws the first failure, when all were asked */
  async stop(): Promise<void> {
    let failure: { error: unknown } | undefined
    for (const service of this.#running.splice(0).reverse()) {
      try {
        await service.stop()
      } catch (error) {
        failure ??= { error }
      }
    }
    if (failure) throw failure.error
  }
}
