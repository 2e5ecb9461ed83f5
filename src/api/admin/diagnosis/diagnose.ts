import type { ClusterFacts, Finding, StoppedFacts } from './facts.js'
import { worstFirst } from './findings.js'
import { checkLayout } from './layout.js'
import { checkDisks, checkSecrets, checkSnapshots } from './machine.js'
import { checkClocks, checkDuplicates, checkMesh, checkReachable, checkVersions } from './nodes.js'
import { checkStopped } from './stopped.js'
import { checkDamage, checkQueues, checkWorkers } from './work.js'

/** The checks that are made of a cluster, in words. */
export const CLUSTER_CHECKS = [
  'nodes reachable',
  'links between all nodes',
  'each node there once',
  'one version and one configuration',
  'clocks',
  'layout survives a zone, capacities fit',
  'secrets readable by nobody else',
  'disks: space, speed, folders in place',
  'snapshots on time',
  'background workers',
  'queues',
  'damaged rows and blocks',
] as const

/** What is wrong with a cluster, or soon will be; the worst first. */
export function diagnoseCluster(facts: ClusterFacts): Finding[] {
  const findings = [
    ...checkReachable(facts),
    ...checkMesh(facts),
    ...checkDuplicates(facts),
    ...checkVersions(facts),
    ...checkClocks(facts),
    ...checkLayout(facts),
  ]
  for (const [id, report] of Object.entries(facts.reports)) {
    if (report.machine !== null) {
      findings.push(
        ...checkSecrets(report.machine, id),
        ...checkDisks(report.machine, id),
        ...checkSnapshots(report.machine, id, report.uptimeSecs),
      )
    }
    findings.push(...checkWorkers(report, id), ...checkQueues(report, id), ...checkDamage(report, id))
  }
  return worstFirst(findings)
}

/** What is wrong with a node that could not be asked; the worst first. */
export function diagnoseStopped(facts: StoppedFacts): Finding[] {
  // A node that never ran has no folders yet.
  const volumes = facts.machine.volumes.filter(({ problem }) => facts.hasDatabase || problem !== 'ENOENT')
  return worstFirst([
    ...checkStopped(facts),
    ...checkSecrets(facts.machine, null),
    ...checkDisks({ ...facts.machine, volumes }, null),
  ])
}
