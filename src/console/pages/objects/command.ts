import type { VersionName } from '../../net/locks'

/** A word of a command line, quoted for a POSIX shell where it has to be. */
export function word(text: string): string {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text
  // Control characters would be lost, or do something, in a terminal: $'…' has them as escapes.
  if (/[\x00-\x1f\x7f-\x9f]/.test(text)) {
    const escaped = text
      .replace(/[\\']/g, '\\$&')
      .replace(/[\x00-\x1f\x7f-\x9f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
    return `$'${escaped}'`
  }
  return `'${text.replaceAll("'", "'\\''")}'`
}

/** A command of aws-cli for an object or one of its versions. */
export function apiCommand(
  name: string,
  { bucket, key, versionId }: VersionName,
  more: readonly string[] = [],
): string {
  const version = versionId === undefined ? [] : ['--version-id', versionId]
  const words = ['aws', 's3api', name, '--bucket', bucket, '--key', key, ...version, ...more]
  return words.map(word).join(' ')
}

/** The address of an object for aws-cli, as a word. */
export function s3Word(bucket: string, key: string): string {
  return word(`s3://${bucket}/${key}`)
}
