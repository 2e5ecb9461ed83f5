import type { Config } from '../config/config.js'

/**
 * Keys of a configuration file that are set and understood, but that this version does nothing with: the operator should
 * hear of each at the start rather than find out later.
 */
export function unusedSettings(config: Config): string[] {
  if (config.configFile === null) return []
  const unused: Record<string, boolean> = {
    workers: config.workers > 1,
  }
  return Object.keys(unused).filter((key) => unused[key])
}
