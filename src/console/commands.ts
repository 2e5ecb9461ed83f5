/** Commands of aws-cli, curl and carport that do what the page does. */
import type { VersionName } from './net/locks'

/** A word of a command line, quoted for a POSIX shell where it has to be. */
export function word(text: string): string {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text
  // Control characters would be lost, or do something, in a terminal: $'…' has them as the bytes of UTF-8.
  if (text.search(CONTROL) >= 0) {
    const escaped = text.replace(/[\\']/g, '\\$&').replace(CONTROL, (c) => bytesOf(c))
    return `$'${escaped}'`
  }
  return `'${text.replaceAll("'", "'\\''")}'`
}

const CONTROL = /[\x00-\x1f\x7f-\x9f]/g

function bytesOf(character: string): string {
  return [...new TextEncoder().encode(character)]
    .map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`)
    .join('')
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

/** A call of the admin API on the command line. */
export function adminCommand(endpoint: string, args: object): string {
  return `carport json-api ${endpoint} ${word(JSON.stringify(args))}`
}

/** A request to a bucket's settings by curl, for those that aws-cli writes in another form. */
export function curlCommand(
  { endpoint, region }: { endpoint: string; region: string },
  method: string,
  path: string,
  body: string,
): string {
  const user = '"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"'
  const data = body === '' ? '' : ` --data-binary ${word(body)}`
  return `curl --aws-sigv4 aws:amz:${region}:s3 --user ${user} -X ${method}${data} ${word(endpoint + path)}`
}
