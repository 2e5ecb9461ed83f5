import { formatBytes } from '../../../cluster/layout/report.js'
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

/** The digits of a node's id that every command takes. */
export function shortId(id: string): string {
  return id.slice(0, 16)
}

export function bytes(count: number): string {
  return formatBytes(count)
}

export function span(seconds: number): string {
  const units: [seconds: number, name: string][] = [
    [86_400, 'day'],
    [3600, 'hour'],
    [60, 'minute'],
    [1, 'second'],
  ]
  const [length, name] = units.find(([unit]) => seconds >= unit) ?? [1, 'second']
  const count = Math.floor(seconds / length)
  return `${count} ${name}${count === 1 ? '' : 's'}`
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
