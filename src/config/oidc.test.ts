import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ConfigError, loadSettings } from './config.js'
import { OIDC_PROVIDER, OIDC_ROLE } from './oidc.js'

const BASE = `
metadata_dir = "/m"
data_dir = "/d"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:3901"
[s3_api]
s3_region = "garage"
`

function load(oidc: string) {
  return loadSettings({
    fileName: 'carport.toml',
    text: BASE + oidc,
    env: {},
    readSecretFile: () => {
      throw new Error('no secrets here')
    },
  })
}

function problems(oidc: string): string[] {
  try {
    load(oidc)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ key, message }) => `${key}: ${message}`)
    throw error
  }
  return []
}

describe('[oidc]', () => {
  it('has no provider unless there is a section', () => {
    expect(load('').oidc).toEqual([])
  })

  it('is read with its roles in order', () => {
    const config = load(`
[oidc.home]
issuer = "https://id.example.org/realms/home"
audience = ["carport", "console"]
console_client_id = "console"
console_scope = "openid groups"
[[oidc.home.roles]]
name = "admins"
claim = "groups"
value = "admins"
access_key = "GKa"
admin_scope = ["GetClusterStatus", "ListKeys"]
[[oidc.home.roles]]
value = "*"
access_key = "GKb"
[oidc.ci]
issuer = "http://127.0.0.1:8080"
audience = "ci"
jwks_uri = "http://localhost:8080/keys"
roles = [{ claim = "repository", value = "me/it", access_key = "GKc" }]
`)
    expect(config.oidc).toEqual([
      {
        name: 'home',
        issuer: 'https://id.example.org/realms/home',
        audiences: ['carport', 'console'],
        jwksUri: null,
        console: { clientId: 'console', scope: 'openid groups' },
        roles: [
          {
            name: 'admins',
            claim: 'groups',
            value: 'admins',
            accessKey: 'GKa',
            adminScope: ['GetClusterStatus', 'ListKeys'],
          },
          { name: null, claim: 'sub', value: '*', accessKey: 'GKb', adminScope: [] },
        ],
      },
      {
        name: 'ci',
        issuer: 'http://127.0.0.1:8080',
        audiences: ['ci'],
        jwksUri: 'http://localhost:8080/keys',
        console: null,
        roles: [{ name: null, claim: 'repository', value: 'me/it', accessKey: 'GKc', adminScope: [] }],
      },
    ])
    expect(Object.isFrozen(config.oidc[0]!.roles[0])).toBe(true)
  })

  it('tells everything that is wrong with it at once', () => {
    expect(
      problems(`
[oidc]
stray = 1
[oidc.a]
issuer = "http://id.example.org"
audience = []
jwks_url = "https://x"
[[oidc.a.roles]]
name = "with space"
value = "x"
[oidc.b]
issuer = "https://id.example.org?x=1"
audience = "b"
console_client_id = "c"
console_scope = "email"
roles = []
`),
    ).toEqual([
      'oidc.stray: is 1, expected a section [oidc.NAME]',
      'oidc.a.issuer: is "http://id.example.org", expected an https URL such as "https://id.example.org" (http on loopback alone)',
      'oidc.a.audience: is a list, expected the client id that tokens are for, or a list of them',
      'oidc.a.jwks_url: is not a known key, did you mean "oidc.a.jwks_uri"?',
      'oidc.a.roles[1].name: is "with space", expected up to 64 letters, digits and _+=,.@-',
      'oidc.a.roles[1].access_key: is missing, expected the id of an access key',
      'oidc.b.issuer: is "https://id.example.org?x=1", expected an https URL such as "https://id.example.org" (http on loopback alone)',
      'oidc.b.console_scope: is "email", expected scopes with a space between them, "openid" among them, such as "openid groups"',
      'oidc.b.roles: is a list, expected one or more [[oidc.NAME.roles]] sections',
      'oidc.b.console_client_id: is "c", expected one of the names in audience: its tokens would be refused',
    ])
  })

  it('gives the rights of an administrator to nobody whom no value names', () => {
    const section = (role: string) =>
      `[oidc.a]\nissuer = "https://id"\naudience = "x"\nconsole_client_id = "x"\nroles = [{ claim = "groups", access_key = "GK", ${role} }]\n`
    expect(load(section('value = "staff"')).oidc[0]!.roles[0]!.adminScope).toEqual([])
    expect(load(section('value = "ops", admin_scope = ["*"]')).oidc[0]!.roles[0]!.adminScope).toEqual(['*'])
    expect(problems(section('value = "*", admin_scope = ["ListKeys"]'))).toEqual([
      'oidc.a.roles[1].admin_scope: goes with value "*", expected a value that only administrators have',
    ])
    expect(problems(section('value = "ops", admin_scope = "*"'))).toEqual([
      'oidc.a.roles[1].admin_scope: is "*", expected a list of endpoints such as ["GetClusterStatus"], or ["*"]',
    ])
  })

  it('takes each issuer once', () => {
    const section = (name: string) =>
      `[oidc.${name}]\nissuer = "https://id"\naudience = "x"\nroles = [{ value = "*", access_key = "GK" }]\n`
    expect(problems(section('a') + section('b'))).toEqual([
      'oidc.b.issuer: is that of oidc.a, expected each issuer once',
    ])
  })

  it('has a row in the documentation for every key', () => {
    const page = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
    const keys = [...Object.keys(OIDC_PROVIDER), ...Object.keys(OIDC_ROLE).map((key) => `roles.${key}`)]
    for (const key of keys) expect(page).toContain(`| \`oidc.NAME.${key}\` |`)
  })
})
