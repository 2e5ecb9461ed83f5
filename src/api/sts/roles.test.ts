import { describe, expect, it } from 'vitest'
import { chooseRole, roleOfArn } from './roles.js'

const role = (claim: string, value: string, accessKey: string, name: string | null = null) => ({
  ...{ claim, value, accessKey, name, adminScope: [] },
})

describe('the role of a token', () => {
  const roles = [
    role('groups', 'admins', 'GKa', 'admins'),
    role('https://x.example/level', '3', 'GKl'),
    role('realm_access.roles', 'writer', 'GKw'),
    role('email', '*', 'GKe', 'people'),
  ]
  const choose = (claims: object, wanted?: string) =>
    chooseRole({ roles }, claims as Record<string, unknown>, wanted)?.accessKey

  it('is the first that fits', () => {
    expect(choose({ groups: ['users', 'admins'], email: 'a@b' })).toBe('GKa')
    expect(choose({ groups: 'admins' })).toBe('GKa')
    expect(choose({ groups: 'admins,users', email: 'a@b' })).toBe('GKe')
    expect(choose({ 'https://x.example/level': 3 })).toBe('GKl')
    expect(choose({ realm_access: { roles: ['writer'] } })).toBe('GKw')
    expect(choose({ 'realm_access.roles': ['reader'], realm_access: { roles: ['writer'] } })).toBeUndefined()
    expect(choose({})).toBeUndefined()
  })

  it('is the wanted one only if it fits', () => {
    const claims = { groups: ['admins'], email: 'a@b' }
    expect(choose(claims, 'people')).toBe('GKe')
    expect(choose(claims, 'GKa')).toBe('GKa')
    expect(choose({ email: 'a@b' }, 'admins')).toBeUndefined()
    expect(choose(claims, 'null')).toBeUndefined()
  })

  it('does not take what no provider means for a value', () => {
    expect(choose({ groups: { admins: true } })).toBeUndefined()
    expect(choose({ email: null })).toBeUndefined()
    expect(choose({ email: [] })).toBeUndefined()
    expect(chooseRole({ roles: [role('constructor.name', 'Object', 'GK')] }, {}, undefined)).toBeUndefined()
  })

  it('is named by the last part of its ARN', () => {
    expect(roleOfArn('arn:aws:iam::123456789012:role/a/b')).toBe('b')
    expect(roleOfArn('arn:carport:iam:::role/GK1')).toBe('GK1')
    expect(roleOfArn('GK1')).toBe('GK1')
    expect(roleOfArn('arn:aws:iam::1:user/x')).toBe('arn:aws:iam::1:user/x')
  })
})
