/** Checks of a node whose server does not run, or does not answer. */
import type { Finding, StoppedFacts } from './facts.js'

export function checkStopped(facts: StoppedFacts): Finding[] {
  const findings: Finding[] = []
  const add = (check: string, message: string, help: string) =>
    findings.push({ severity: 'error', check, node: null, message, help })
  for (const problem of facts.configProblems)
    add('configuration-wrong', problem, 'correct the configuration: docs/configuration.md has all keys')
  if (facts.heldBy !== null) {
    add(
      'server-silent',
      `the server runs (${facts.heldBy}) but could not be asked: ${facts.unreachable}`,
      'look at its log; rpc_bind_addr and rpc_secret must be those that it was started with',
    )
    return findings
  }
  add(
    'server-stopped',
    `the server does not run: ${facts.unreachable}`,
    'carport server, or: systemctl start carport',
  )
  for (const { key, address, inUse, problem } of facts.ports) {
    if (inUse) {
      const help = `ss -ltnp | grep ${address.slice(address.lastIndexOf(':'))} tells which; stop that one, or set ${key} to another port`
      add('port-in-use', `another program listens on ${address} (${key}): the server cannot start`, help)
    } else if (problem !== null) {
      const help = `set ${key} to an address of this machine`
      add('address-unusable', `the server cannot listen on ${address} (${key}): ${problem}`, help)
    }
  }
  if (facts.databaseFault !== null) {
    add(
      'database-damaged',
      `the database is damaged: ${facts.databaseFault}`,
      'with other replicas: carport meta restore --from-replicas --yes; without: carport meta restore --yes takes the newest snapshot. Then start the server',
    )
  }
  return findings
}
