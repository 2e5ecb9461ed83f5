import { shellWord } from '../util/shell-word.js'

export interface Welcome {
  endpoint: string
  region: string
  accessKeyId: string
  /** Undefined where the key was made by an earlier start, which has shown it. */
  secretAccessKey: string | undefined
  /** Undefined where none was asked for. */
  bucket: string | undefined
  /** The address of the pages for browsers; undefined where no admin address is served. */
  console: string | undefined
}

/** The text to print when a single node is ready: enough to paste and go, once the secret is known. */
export function welcome(made: Welcome): string {
  const { endpoint, region, accessKeyId, secretAccessKey, bucket, console } = made
  const facts = `
Carport is ready.

${console === undefined ? '' : `  console     ${console}\n`}  endpoint    ${endpoint}
  region      ${region}
${bucket === undefined ? '' : `  bucket      ${bucket}\n`}  access key  ${accessKeyId}
`
  if (secretAccessKey === undefined) {
    return `${facts}  secret key  was shown when it was made; to see it again: carport key info ${accessKeyId} --show-secret\n\n`
  }
  const remote =
    `:s3,provider=Other,endpoint=${rcloneValue(endpoint)},region=${rcloneValue(region)},` +
    `access_key_id=${rcloneValue(accessKeyId)},secret_access_key=${rcloneValue(secretAccessKey)}:${bucket ?? ''}`
  const aws = `aws --endpoint-url ${shellWord(endpoint)} s3`
  return `${facts}  secret key  ${secretAccessKey}

aws-cli:
  export AWS_ACCESS_KEY_ID=${shellWord(accessKeyId)} AWS_SECRET_ACCESS_KEY=${shellWord(secretAccessKey)} AWS_DEFAULT_REGION=${shellWord(region)}
  ${bucket === undefined ? `${aws} mb s3://my-bucket` : `echo hello | ${aws} cp - s3://${bucket}/hello.txt`}
  ${aws} ls${bucket === undefined ? '' : ` s3://${bucket}`}

rclone:
  rclone ${bucket === undefined ? 'lsd' : 'lsl'} ${shellWord(remote)}

`
}

/** The URL at which a server that listens on `address` (host:port) is reached from the same machine. */
export function localEndpoint(address: string, secure: boolean): string {
  return `http${secure ? 's' : ''}://${address.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:')}`
}

/** A value in a connection string of rclone's, quoted where "," or ":" would end it. */
function rcloneValue(text: string): string {
  return /^[\w/+.-]+$/.test(text) ? text : `"${text.replaceAll('"', '""')}"`
}
