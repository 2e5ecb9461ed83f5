/** What to print when a single node is ready: enough to paste and go. */
export function welcome(made: {
  endpoint: string
  region: string
  accessKeyId: string
  secretAccessKey: string
  bucket: string
}): string {
  const { endpoint, region, accessKeyId, secretAccessKey, bucket } = made
  return `
Carport is ready.

  endpoint    ${endpoint}
  region      ${region}
  bucket      ${bucket}
  access key  ${accessKeyId}
  secret key  ${secretAccessKey}

aws-cli:
  export AWS_ACCESS_KEY_ID=${accessKeyId} AWS_SECRET_ACCESS_KEY=${secretAccessKey} AWS_DEFAULT_REGION=${region}
  echo hello | aws --endpoint-url ${endpoint} s3 cp - s3://${bucket}/hello.txt
  aws --endpoint-url ${endpoint} s3 ls s3://${bucket}

rclone:
  rclone lsl ":s3,provider=Other,endpoint='${endpoint}',region=${region},access_key_id=${accessKeyId},secret_access_key=${secretAccessKey}:${bucket}"

`
}
