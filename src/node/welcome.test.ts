import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { localEndpoint, welcome } from './welcome.js'

/** What programs of these names would get when the lines are pasted into a shell. */
function pasted(text: string): string[] {
  const commands = text
    .split('\n')
    .filter((line) => /^ {2}(export|echo|aws|rclone) /.test(line))
    .join('\n')
  const programs = `aws() { printf '%s\\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" "$AWS_DEFAULT_REGION" "$@"; }
rclone() { printf '%s\\n' "$@"; }\n`
  return execFileSync('/bin/sh', ['-c', programs + commands], { encoding: 'latin1' })
    .trim()
    .split('\n')
}

test.each(['0123abcd', `it's $HOME, "x": \`id\` \\ !!`])(
  'the commands work as pasted with the secret %j',
  (secretAccessKey) => {
    const endpoint = 'http://127.0.0.1:3900'
    const lines = pasted(
      welcome({
        endpoint,
        region: 'us-east-1',
        accessKeyId: 'GK00',
        secretAccessKey,
        bucket: 'first',
        console: undefined,
      }),
    )
    const account = ['GK00', secretAccessKey, 'us-east-1', '--endpoint-url', endpoint]
    const quoted =
      secretAccessKey === '0123abcd' ? secretAccessKey : `"${secretAccessKey.replaceAll('"', '""')}"`
    expect(lines).toEqual([
      ...[...account, 's3', 'cp', '-', 's3://first/hello.txt'],
      ...[...account, 's3', 'ls', 's3://first'],
      'lsl',
      `:s3,provider=Other,endpoint="${endpoint}",region=us-east-1,access_key_id=GK00,secret_access_key=${quoted}:first`,
    ])
  },
)

test('a key without a bucket is shown with commands that need none', () => {
  const endpoint = 'http://127.0.0.1:3900'
  const lines = pasted(
    welcome({
      endpoint,
      region: 'r',
      accessKeyId: 'GK00',
      secretAccessKey: 'abc',
      bucket: undefined,
      console: undefined,
    }),
  )
  const account = ['GK00', 'abc', 'r', '--endpoint-url', endpoint]
  const remote = `:s3,provider=Other,endpoint="${endpoint}",region=r,access_key_id=GK00,secret_access_key=abc:`
  expect(lines).toEqual([...account, 's3', 'mb', 's3://my-bucket', ...account, 's3', 'ls', 'lsd', remote])
})

test('a secret that an earlier start has shown is not shown again, but where to see it', () => {
  const text = welcome({
    endpoint: 'http://127.0.0.1:3900',
    region: 'us-east-1',
    accessKeyId: 'GK00',
    secretAccessKey: undefined,
    bucket: 'first',
    console: 'http://127.0.0.1:3903/console/',
  })
  expect(text).toContain('carport key info GK00 --show-secret')
  expect(text).toContain('  console     http://127.0.0.1:3903/console/\n')
  expect(text).not.toContain('AWS_SECRET_ACCESS_KEY')
})

test('a node that listens on all addresses is shown by one that clients can use', () => {
  expect(localEndpoint('0.0.0.0:3900', false)).toBe('http://127.0.0.1:3900')
  expect(localEndpoint('[::]:3900', false)).toBe('http://[::1]:3900')
  expect(localEndpoint('10.0.0.1:443', true)).toBe('https://10.0.0.1:443')
})
