import { formatSpan } from '../../../util/text.js'
import type { Finding } from './facts.js'

const RANK: Record<Finding['severity'], number> = { error: 0, warning: 1, info: 2 }

/** The worst first; findings of one severity in the order in which they were found. */
export function worstFirst(findings: readonly Finding[]): Finding[] {
  return [...findings].sort((a, b) => RANK[a.severity] - RANK[b.severity])
}

/** Whether there is something that should be put right. */
export function isSick(findings: readonly Finding[]): boolean {
  return findings.some(({ severity }) => severity !== 'info')
}

const DAY_SECONDS = 86_400

/** "40 days": what is to be done about a time is not plainer in months. */
export function span(seconds: number): string {
  return formatSpan(seconds, DAY_SECONDS)
}
