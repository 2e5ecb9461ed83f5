/** A node's name for people: its host, and the start of its id, as several may run on one host. */
export function nodeName({ hostname, id }: { hostname: string | null; id: string }): string {
  return `${hostname ?? ''} ${id.slice(0, 6)}`.trim()
}
