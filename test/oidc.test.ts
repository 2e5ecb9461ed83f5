import {
  CreateBucketCommand,
  type CreateBucketCommandInput,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import {
  AssumeRoleWithWebIdentityCommand,
  type AssumeRoleWithWebIdentityCommandInput,
  type Credentials,
  STSClient,
} from '@aws-sdk/client-sts'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import fc from 'fast-check'
import { SignJWT, UnsecuredJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Sessions } from '../src/api/sts/sessions.js'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { systemRandom } from '../src/platform/clock-and-random.js'
import { startIssuer, type TestIssuer } from './support/oidc-issuer.js'
import { postForm, signedForm } from './support/post-form.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const READERS = 'GKreaders'
const WRITERS = 'GKwriters'
const EVERYBODY_ARN = 'arn:carport:iam:::role/everybody'

let issuer: TestIssuer
let node: TestNode
let owner: AccessKey
let sts: STSClient
const clients: S3Client[] = []

beforeAll(async () => {
  issuer = await startIssuer()
  const providers = [
    {
      ...{ name: 'home', issuer: issuer.url, audiences: ['console', 'carport'], jwksUri: null },
      console: null,
      roles: [
        { name: 'writers', claim: 'realm.groups', value: 'writers', accessKey: WRITERS, adminScope: [] },
        { name: 'everybody', claim: 'sub', value: '*', accessKey: READERS, adminScope: [] },
        { name: 'gone', claim: 'sub', value: '*', accessKey: 'GKnever', adminScope: [] },
      ],
    },
  ]
  node = await startTestNode({ oidc: providers })
  owner = await node.createKey('owner')
  await node.client(owner).send(new CreateBucketCommand({ Bucket: 'shared' }))
  await node.client(owner).send(new PutObjectCommand({ Bucket: 'shared', Key: 'a/1', Body: 'one' }))
  const { keys, buckets } = node.core.model
  const { id } = (await buckets.byName('shared', undefined))!
  await keys.import(READERS, 'readers-secret', 'readers')
  await keys.setPermissions(READERS, id, { read: true, write: false, owner: false })
  await keys.import(WRITERS, 'writers-secret', 'writers')
  await keys.setPermissions(WRITERS, id, { read: true, write: true, owner: false })
  sts = new STSClient({ endpoint: node.endpoint, region: 'us-east-1', maxAttempts: 1 })
})

afterAll(async () => {
  sts?.destroy()
  for (const client of clients) client.destroy()
  await node?.dispose()
  await issuer?.stop()
})

async function assume(token: string, input: Partial<AssumeRoleWithWebIdentityCommandInput> = {}) {
  return sts.send(
    new AssumeRoleWithWebIdentityCommand({
      RoleArn: EVERYBODY_ARN,
      RoleSessionName: 'test-session',
      WebIdentityToken: token,
      ...input,
    }),
  )
}

function clientOf({ AccessKeyId, SecretAccessKey, SessionToken }: Credentials): S3Client {
  const client = new S3Client({
    endpoint: node.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: {
      accessKeyId: AccessKeyId!,
      secretAccessKey: SecretAccessKey!,
      ...(SessionToken !== undefined && { sessionToken: SessionToken }),
    },
  })
  clients.push(client)
  return client
}

/** Makes a client that acts as the holder of a token with these claims. */
async function login(claims = {}, input: Partial<AssumeRoleWithWebIdentityCommandInput> = {}) {
  return clientOf((await assume(await issuer.token(claims), input)).Credentials!)
}

const get = (Key = 'a/1') => new GetObjectCommand({ Bucket: 'shared', Key })
const put = (Key = 'b/1') => new PutObjectCommand({ Bucket: 'shared', Key, Body: 'new' })
const failure = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => undefined,
    (reason: Error & { $metadata?: { httpStatusCode?: number } }) => reason,
  )
  return error && `${error.name} ${error.$metadata?.httpStatusCode}`
}

describe('AssumeRoleWithWebIdentity', () => {
  it('gives credentials with the permissions of the key that the role names', async () => {
    const before = Date.now()
    const answer = await assume(await issuer.token(), { DurationSeconds: 900 })
    expect(answer).toMatchObject({
      SubjectFromWebIdentityToken: 'alice',
      Audience: 'carport',
      Provider: issuer.url,
      AssumedRoleUser: {
        Arn: `arn:carport:sts:::assumed-role/${READERS}/test-session`,
        AssumedRoleId: `${READERS}:test-session`,
      },
    })
    const ends = answer.Credentials!.Expiration!.getTime() - before
    expect(ends).toBeGreaterThan(898_000)
    expect(ends).toBeLessThan(930_000)
    const client = clientOf(answer.Credentials!)
    expect(await (await client.send(get())).Body!.transformToString()).toBe('one')
    expect((await client.send(new ListBucketsCommand({}))).Buckets).toMatchObject([{ Name: 'shared' }])
    expect(await failure(client.send(put()))).toBe('AccessDenied 403')
  })

  it('takes the first role that the claims fit when none is named', async () => {
    const query = async (claims: object) => {
      const parameters = new URLSearchParams({
        Action: 'AssumeRoleWithWebIdentity',
        Version: '2011-06-15',
        WebIdentityToken: await issuer.token({ ...claims }),
      })
      const response = await fetch(`${node.endpoint}/?${parameters}`, { method: 'POST' })
      return response.text()
    }
    expect(await query({ realm: { groups: ['x', 'writers'] } })).toContain(`:${'alice'}</AssumedRoleId>`)
    expect(await query({ realm: { groups: ['x', 'writers'] } })).toContain(`<AssumedRoleId>${WRITERS}:`)
    expect(await query({ realm: { groups: ['x'] } })).toContain(`<AssumedRoleId>${READERS}:`)
  })

  it('lets a role be named by its name or its access key, if the claims fit', async () => {
    const claims = { realm: { groups: 'writers' } }
    for (const RoleArn of [
      'arn:aws:iam::123456789012:role/path/writers',
      `arn:carport:iam:::role/${WRITERS}`,
      WRITERS,
    ]) {
      await (await login(claims, { RoleArn })).send(put())
      expect(await failure(login({}, { RoleArn }))).toBe('AccessDenied 403')
    }
    expect(await failure(login({}, { RoleArn: 'arn:carport:iam:::role/other' }))).toBe('AccessDenied 403')
    expect(await failure(login({}, { RoleArn: 'arn:carport:iam:::role/gone' }))).toBe('AccessDenied 403')
  })

  it('answers AWS codes for tokens that are not good', async () => {
    const nowS = Math.floor(Date.now() / 1000)
    const good = await issuer.token()
    const [head, , signature] = good.split('.')
    const forged = Buffer.from(
      JSON.stringify({ iss: issuer.url, sub: 'root', aud: 'carport', exp: nowS + 300 }),
    )
    const symmetric = new SignJWT({ iss: issuer.url, sub: 'root', aud: 'carport', exp: nowS + 300 })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(Buffer.from('s'.repeat(32)))
    const unsigned = new UnsecuredJWT({
      iss: issuer.url,
      sub: 'root',
      aud: 'carport',
      exp: nowS + 300,
    }).encode()
    const cases: [token: string, failure: string][] = [
      [await issuer.token({ aud: 'another' }), 'InvalidIdentityTokenException 400'],
      [await issuer.token({ aud: ['another', 'carport'] }), ''],
      [await issuer.token({ iss: 'https://elsewhere.example' }), 'InvalidIdentityTokenException 400'],
      [await issuer.token({ exp: nowS - 60 }), 'ExpiredTokenException 400'],
      [await issuer.token({ exp: undefined }), 'InvalidIdentityTokenException 400'],
      [await issuer.token({ nbf: nowS + 120 }), 'InvalidIdentityTokenException 400'],
      [await issuer.token({ iat: nowS + 120 }), 'InvalidIdentityTokenException 400'],
      [await issuer.token({ sub: undefined }), 'InvalidIdentityTokenException 400'],
      [`${head}.${forged.toString('base64url')}.${signature}`, 'InvalidIdentityTokenException 400'],
      [await symmetric, 'InvalidIdentityTokenException 400'],
      [unsigned, 'InvalidIdentityTokenException 400'],
      ['not a token', 'InvalidIdentityTokenException 400'],
      ['x'.repeat(30_000), 'ValidationError 400'],
    ]
    for (const [token, expected] of cases) expect((await failure(assume(token))) ?? '').toBe(expected)
  })

  it('answers AWS codes for parameters that are not good', async () => {
    const token = await issuer.token()
    const refused = (input: Partial<AssumeRoleWithWebIdentityCommandInput>) => failure(assume(token, input))
    expect(await refused({ DurationSeconds: 899 })).toBe('ValidationError 400')
    expect(await refused({ DurationSeconds: 43_201 })).toBe('ValidationError 400')
    expect(await refused({ RoleSessionName: 'a b' })).toBe('ValidationError 400')
    expect(await refused({ Policy: '{' })).toBe('MalformedPolicyDocumentException 400')
    expect(await refused({ Policy: `{${' '.repeat(2048)}}` })).toBe('PackedPolicyTooLargeException 400')
    expect(await refused({ PolicyArns: [{ arn: 'arn:aws:iam::aws:policy/x' }] })).toBe(
      'InvalidParameterValue 400',
    )
    expect(await refused({ ProviderId: 'www.amazon.com' })).toBe('InvalidParameterValue 400')
    expect(await refused({ ProviderId: 'home' })).toBeUndefined()
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    const post = (body: string) => fetch(`${node.endpoint}/`, { method: 'POST', headers: form, body })
    const answer = await post('Action=GetFederationToken&Version=2011-06-15')
    expect(answer.status).toBe(400)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(await answer.text()).toMatch(/<ErrorResponse .*<Code>InvalidAction<\/Code>.*<RequestId>\w+</s)
    expect(await (await post('Action=%')).text()).toContain('<Code>ValidationError</Code>')
    expect(await (await post('x'.repeat(70_000))).text()).toContain('<Code>ValidationError</Code>')
  })

  it('answers an error of STS, never one of the server, whatever the form says', async () => {
    const good = await issuer.token()
    const [head, claims, signature] = good.split('.') as [string, string, string]
    const part = (text: string) =>
      fc.oneof(
        fc.constant(text),
        fc.base64String(),
        fc.json().map((json) => Buffer.from(json).toString('base64url')),
      )
    const token = fc.oneof(
      fc.tuple(part(head), part(claims), part(signature)).map((parts) => parts.join('.')),
      fc.string(),
    )
    const form = fc.record(
      {
        Action: fc.constant('AssumeRoleWithWebIdentity'),
        WebIdentityToken: token.filter((text) => text !== good),
        RoleArn: fc.string({ unit: 'binary' }),
        RoleSessionName: fc.string(),
        DurationSeconds: fc.oneof(fc.string(), fc.integer().map(String)),
        Policy: fc.oneof(fc.json(), fc.string()),
      },
      { requiredKeys: ['Action'] },
    )
    const body = fc.oneof(
      form.map((fields) => Buffer.from(new URLSearchParams(fields).toString())),
      fc
        .uint8Array()
        .map((bytes) => Buffer.concat([Buffer.from('Action=AssumeRoleWithWebIdentity&'), bytes])),
    )
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    await fc.assert(
      fc.asyncProperty(body, async (bytes) => {
        const answer = await fetch(`${node.endpoint}/`, { method: 'POST', headers, body: bytes })
        expect(answer.status).toBeGreaterThanOrEqual(400)
        expect(answer.status).toBeLessThan(500)
        expect(await answer.text()).toMatch(
          /^<\?xml .*<ErrorResponse .*<Code>\w+<\/Code>.*<\/ErrorResponse>$/s,
        )
      }),
      { numRuns: 60 },
    )
  })

  it('fetches keys once, and again when the provider has a new one', async () => {
    // The keys were fetched moments ago, so a new key stays unknown until the pause between attempts is over.
    const own = await startIssuer('RS256')
    const providers = [
      {
        ...{ name: 'own', issuer: own.url, audiences: ['carport'], jwksUri: `${own.url}/keys` },
        console: null,
        roles: [{ name: null, claim: 'sub', value: 'alice', accessKey: READERS, adminScope: [] }],
      },
    ]
    const other = await startTestNode({ oidc: providers })
    const client = new STSClient({ endpoint: other.endpoint, region: 'us-east-1', maxAttempts: 1 })
    try {
      await other.core.model.keys.import(READERS, 'readers-secret', 'readers')
      const ask = async () =>
        client.send(
          new AssumeRoleWithWebIdentityCommand({
            RoleArn: READERS,
            RoleSessionName: 'session',
            WebIdentityToken: await own.token(),
          }),
        )
      await Promise.all([ask(), ask(), ask()])
      expect(own.keyFetches).toBe(1)
      await own.rotate()
      expect(await failure(ask())).toBe('InvalidIdentityTokenException 400')
      expect(own.keyFetches).toBe(1)
    } finally {
      client.destroy()
      await other.dispose()
      await own.stop()
    }
  })
})

describe('temporary credentials', () => {
  it('sign whatever the secret of a key signs: headers, URLs, forms, multi-object deletes', async () => {
    const token = await issuer.token({ realm: { groups: ['writers'] } })
    const credentials = (await assume(token, { RoleArn: WRITERS })).Credentials!
    const client = clientOf(credentials)
    const url = await getSignedUrl(client, get())
    expect(url).toContain('X-Amz-Security-Token=')
    expect(await (await fetch(url)).text()).toBe('one')
    const tampered = url.replace(/X-Amz-Security-Token=..../, 'X-Amz-Security-Token=AAAA')
    expect(await (await fetch(tampered)).text()).toContain('<Code>InvalidToken</Code>')
    const without = url.replace(/X-Amz-Security-Token=[^&]*&/, '')
    expect(await (await fetch(without)).text()).toContain('<Code>InvalidAccessKeyId</Code>')

    const key = { ...owner, id: credentials.AccessKeyId!, secret: credentials.SecretAccessKey! }
    const fields = { key: 'form', 'x-amz-security-token': credentials.SessionToken! }
    const file = { content: 'by form', name: 'file' }
    const posted = await postForm(`${node.endpoint}/shared`, signedForm(key, 'shared', fields), file)
    expect(posted.status).toBe(204)
    expect(await (await client.send(get('form'))).Body!.transformToString()).toBe('by form')

    const Objects = [{ Key: 'form' }]
    const deleted = await client.send(new DeleteObjectsCommand({ Bucket: 'shared', Delete: { Objects } }))
    expect(deleted.Deleted).toMatchObject(Objects)
  })

  it('are refused when token, key id and secret do not belong together', async () => {
    const [one, two] = [
      (await assume(await issuer.token())).Credentials!,
      (await assume(await issuer.token())).Credentials!,
    ]
    const refused = (credentials: Credentials) => failure(clientOf(credentials).send(get()))
    expect(await refused({ ...one, SessionToken: two.SessionToken })).toBe('InvalidToken 400')
    expect(await refused({ ...one, AccessKeyId: two.AccessKeyId, SessionToken: two.SessionToken })).toBe(
      'SignatureDoesNotMatch 403',
    )
    expect(await refused({ ...one, SessionToken: undefined })).toBe('InvalidAccessKeyId 403')
    const ordinary = { AccessKeyId: owner.id, SecretAccessKey: owner.secret, Expiration: undefined }
    expect(await refused({ ...ordinary, SessionToken: one.SessionToken })).toBe('InvalidToken 400')
    expect(await refused({ ...ordinary, SessionToken: 'x' })).toBe('InvalidToken 400')
    expect(await refused({ ...one, SessionToken: `${one.SessionToken}AA` })).toBe('InvalidToken 400')
    expect(await refused(one)).toBeUndefined()
  })

  it('end at their time, and with the key behind them', async () => {
    const sessions = new Sessions(Buffer.from('ab'.repeat(32), 'hex'), systemRandom)
    const issue = (expiresMs: number, parentKeyId: string) => {
      const grant = { expiresMs, parentKeyId, provider: 'home', subject: 'alice', name: 'session' }
      const { accessKeyId, secretAccessKey, sessionToken } = sessions.issue(grant)
      return clientOf({
        ...{ AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, SessionToken: sessionToken },
        Expiration: undefined,
      })
    }
    expect(await failure(issue(Date.now() + 60_000, READERS).send(get()))).toBeUndefined()
    expect(await failure(issue(Date.now() - 1, READERS).send(get()))).toBe('ExpiredToken 400')

    const { keys, buckets } = node.core.model
    const parent = await node.createKey('revoked')
    const { id } = (await buckets.byName('shared', undefined))!
    await keys.setPermissions(parent.id, id, { read: true, write: false, owner: false })
    const client = issue(Date.now() + 60_000, parent.id)
    expect(await failure(client.send(get()))).toBeUndefined()
    await keys.setPermissions(parent.id, id, { read: false, write: false, owner: false })
    expect(await failure(client.send(get()))).toBe('AccessDenied 403')
    await keys.change(parent.id, { expires: Date.now() - 1 })
    expect(await failure(client.send(get()))).toBe('InvalidAccessKeyId 403')
    await keys.change(parent.id, { expires: null })
    await keys.delete(parent.id)
    expect(await failure(client.send(get()))).toBe('InvalidAccessKeyId 403')
  })

  it('may do what their policy and the key behind them both allow', async () => {
    const Policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Action: ['s3:GetObject', 's3:PutObject', 's3:DeleteObject'],
          // biome-ignore lint/suspicious/noTemplateCurlyInString: a policy variable
          Resource: 'arn:aws:s3:::shared/${aws:username}/*',
        },
        {
          Effect: 'Allow',
          Action: 's3:ListBucket',
          Resource: 'arn:aws:s3:::shared',
          Condition: { StringLike: { 's3:prefix': 'writers/*' } },
        },
        { Effect: 'Deny', Action: 's3:DeleteObject', Resource: '*' },
      ],
    })
    const client = await login({ realm: { groups: ['writers'] } }, { RoleArn: WRITERS, Policy })
    await client.send(put('writers/1'))
    expect(await (await client.send(get('writers/1'))).Body!.transformToString()).toBe('new')
    const list = (Prefix: string) => client.send(new ListObjectsV2Command({ Bucket: 'shared', Prefix }))
    expect((await list('writers/')).KeyCount).toBe(1)
    const refused = [
      () => client.send(get('a/1')),
      () => client.send(put('a/2')),
      () =>
        client.send(new PutObjectCommand({ Bucket: 'shared', Key: 'writers/2', Body: '', Tagging: 'a=b' })),
      () => client.send(new DeleteObjectCommand({ Bucket: 'shared', Key: 'writers/1' })),
      () => client.send(new ListBucketsCommand({})),
      () => client.send(new CreateBucketCommand({ Bucket: 'another' })),
      () => list('a/'),
    ]
    for (const attempt of refused) expect(await failure(attempt())).toBe('AccessDenied 403')
    const Delete = { Objects: [{ Key: 'writers/1' }] }
    const deleted = await client.send(new DeleteObjectsCommand({ Bucket: 'shared', Delete }))
    expect(deleted.Errors).toMatchObject([{ Key: 'writers/1', Code: 'AccessDenied' }])

    const readers = await login({}, { Policy })
    expect(await failure(readers.send(put('readers/1')))).toBe('AccessDenied 403')
  })

  it('make buckets with settings only where their policy allows to set these', async () => {
    await node.core.model.keys.change(WRITERS, { createBucket: true })
    const asking = async (...actions: string[]) => {
      const Statement = { Effect: 'Allow', Action: ['s3:CreateBucket', ...actions], Resource: '*' }
      const Policy = JSON.stringify({ Version: '2012-10-17', Statement })
      return login({ realm: { groups: ['writers'] } }, { RoleArn: WRITERS, Policy })
    }
    const bare = await asking()
    const settings: [Partial<CreateBucketCommandInput>, ...string[]][] = [
      [{ ACL: 'private', ObjectLockEnabledForBucket: false }],
      [{ ACL: 'public-read' }, 's3:PutBucketAcl'],
      [{ GrantRead: `id=${READERS}` }, 's3:PutBucketAcl'],
      [{ ObjectOwnership: 'BucketOwnerPreferred' }, 's3:PutBucketOwnershipControls'],
      [{ ObjectLockEnabledForBucket: true }, 's3:PutBucketObjectLockConfiguration', 's3:PutBucketVersioning'],
      [{ CreateBucketConfiguration: { Tags: [{ Key: 'a', Value: 'b' }] } }, 's3:TagResource'],
    ]
    for (const [i, [input, ...actions]] of settings.entries()) {
      const command = () => new CreateBucketCommand({ Bucket: `of-a-session-${i}`, ...input })
      const refused = actions.length > 0 ? 'AccessDenied 403' : undefined
      expect([input, await failure(bare.send(command()))]).toEqual([input, refused])
      const allowed = await asking(...actions)
      expect([input, await failure(allowed.send(command()))]).toEqual([input, undefined])
      // The bucket that is there now has them.
      expect([input, await failure(bare.send(command()))]).toEqual([input, refused])
    }
  })
})

describe('a node without identity providers', () => {
  it('takes credentials that other nodes issued, and issues none', async () => {
    const other = await startTestNode()
    try {
      await other.core.model.keys.import(READERS, 'readers-secret', 'readers')
      const { Credentials: credentials } = await assume(await issuer.token())
      const client = clientOf(credentials!)
      client.config.endpoint = async () => {
        const { hostname, port } = new URL(other.endpoint)
        return { protocol: 'http:', hostname, port: Number(port), path: '/' }
      }
      expect((await client.send(new ListBucketsCommand({}))).Buckets ?? []).toEqual([])
      const answer = await fetch(`${other.endpoint}/?Action=AssumeRoleWithWebIdentity`, { method: 'POST' })
      expect(answer.status).toBe(405)
    } finally {
      await other.dispose()
    }
  })
})
