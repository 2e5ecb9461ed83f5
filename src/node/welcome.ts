export interface Welcome {
  endpoint: string
  region: string
  accessKeyId: string
  /** Undefined where the key was made by an earlier start, which has shown it. */
  secretAccessKey: string | undefined
  bucket: string
}

/** The text to print when a single node is ready: enough to paste and go, once the secret is known. */
export function welcome(made: Welcome): string {
  const { endpoint, region, accessKeyId, secretAccessKey, bucket } = made
  const facts = `
Carport is ready.

  endpoint    ${endpoint}
  region      ${region}
  bucket      ${bucket}
  access key  ${accessKeyId}
`
  if (secretAccessKey === undefined) {
    return `${facts}  secret key  was shown when it was made; to see it again: carport key info ${accessKeyId} --show-secret\n\n`
  }
  const remote =
    `:s3,provider=Other,endpoint=${rcloneValue(endpoint)},region=${rcloneValue(region)},` +
    `access_key_id=${rcloneValue(accessKeyId)},secret_access_key=${rcloneValue(secretAccessKey)}:${bucket}`
  return `${facts}  secret key  ${secretAccessKey}

aws-cli:
  export AWS_ACCESS_KEY_ID=${shellWord(accessKeyId)} AWS_SECRET_ACCESS_KEY=${shellWord(secretAccessKey)} AWS_DEFAULT_REGION=${shellWord(region)}
  echo hello | aws --endpoint-url ${shellWord(endpoint)} s3 cp - s3://${bucket}/hello.txt
  aws --endpoint-url ${shellWord(endpoint)} s3 ls s3://${bucket}

rclone:
  rclone lsl ${shellWord(remote)}

`
}

/** The URL at which a server that listens on `address` (host:port) is reached from the same machine. */
export function localEndpoint(address: string, secure: boolean): string {
  return `http${secure ? 's' : ''}://${address.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:')}`
}

/** One word of a POSIX shell: secrets and keys that were chosen by hand may have any printable character. */
function shellWord(text: string): string {
  return /^[\w@%+:,./=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

/** A value in a connection string of rclone's, quoted where "," or ":" would end it. */
function rcloneValue(text: string): string {
  return /^[\w/+.-]+$/.test(text) ? text : `"${text.replaceAll('"', '""')}"`
}
