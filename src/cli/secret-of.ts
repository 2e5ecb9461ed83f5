import { ConfigError } from '../config/config.js'
import { resolveSecret, worldReadableAllowed } from '../config/secrets.js'
import { Findings } from '../config/section.js'
import type { CliIo } from './io.js'

/** A secret from the environment, or from the file that it names. @throws ConfigError */
export function secretOf(io: CliIo, envName: string): string | undefined {
  const findings = new Findings()
  const source = { key: envName.toLowerCase(), envName, inline: null, file: null }
  const allowWorldReadable = worldReadableAllowed(io.env, false, findings)
  const secret = resolveSecret(
    source,
    { env: io.env, readSecretFile: io.readSecretFile, allowWorldReadable },
    findings,
  )
  if (findings.problems.length > 0) throw new ConfigError('environment', findings.problems)
  return secret ?? undefined
}
