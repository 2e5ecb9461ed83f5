export const KIB = 1024
export const MIB = 1024 * KIB
export const GIB = 1024 * MIB

/** "4 KiB" */
export function sizeText(bytes: number): string {
  if (bytes >= GIB && bytes % GIB === 0) return `${bytes / GIB} GiB`
  if (bytes >= MIB && bytes % MIB === 0) return `${bytes / MIB} MiB`
  if (bytes >= KIB && bytes % KIB === 0) return `${bytes / KIB} KiB`
  return `${bytes} B`
}

/** "10k" */
export function countText(count: number): string {
  if (count >= 1e6 && count % 1e6 === 0) return `${count / 1e6}M`
  return count >= 1000 && count % 1000 === 0 ? `${count / 1000}k` : `${count}`
}
