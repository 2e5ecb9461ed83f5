/** One word of a POSIX shell: secrets and keys that were chosen by hand may have any printable character. */
export function shellWord(text: string): string {
  return /^[\w@%+:,./=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
