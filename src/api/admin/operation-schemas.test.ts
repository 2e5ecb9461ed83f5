import { describe, expect, it } from 'vitest'
import { ENDPOINTS } from './http/endpoints.js'
import { checkOperation, operationSchemas } from './operation-schemas.js'
import { resultSchemas } from './result-schemas.js'

const ID = 'ab'.repeat(32)

describe('administrative calls', () => {
  it.each<[operation: string, args: unknown]>([
    ['status', {}],
    ['status', undefined],
    ['status', null],
    [
      'layout.stage',
      {
        roles: [
          { id: ID, zone: 'z', tags: [], capacity: null },
          { id: ID, remove: true },
        ],
      },
    ],
    ['layout.stage', { parameters: { zoneRedundancy: { atLeast: 2 } } }],
    ['bucket.info', { search: 'x' }],
    ['bucket.create', { localAlias: { accessKeyId: 'GK', alias: 'b', allow: { read: true } } }],
    ['key.update', { id: 'GK', expiration: '2026-01-01T00:00:00Z', allow: null }],
    ['repair.launch', { node: '*', repairType: { scrub: 'pause' } }],
  ])('%s %j is taken', (operation, args) => {
    expect(checkOperation(operation, args)).toEqual({ operation, args: args ?? {} })
  })

  it.each<[operation: unknown, args: unknown, message: RegExp]>([
    ['nothing', {}, /unknown operation "nothing"/],
    ['constructor', {}, /unknown operation/],
    [5, {}, /unknown operation 5/],
    ['status', { x: 1 }, /status: .*"x"/],
    ['layout.apply', { version: '1' }, /layout.apply: version: /],
    ['layout.stage', { roles: [{ id: 'x', remove: true }] }, /layout.stage: roles.0/],
    ['bucket.info', { id: ID.slice(32), search: 'x' }, /bucket.info/],
    ['bucket.delete', { id: '../..' }, /expected a bucket id of 32 hexadecimal digits/],
    ['key.create', { expiration: 'tomorrow' }, /expiration/],
    ['repair.launch', { node: 'x', repairType: 'tables' }, /node: expected '\*', 'self' or a node id/],
    ['block.info', { node: 'self', blockHash: 'ab' }, /at least 4 hexadecimal digits/],
  ])('%s %j is refused', (operation, args, message) => {
    expect(() => checkOperation(operation, args)).toThrow(message)
  })

  it('every operation has one endpoint of the admin API, but for the text of the command line, and a result', () => {
    const served = Object.values(ENDPOINTS).map(({ operation }) => operation)
    expect([...served, 'layout.show'].sort()).toEqual(Object.keys(operationSchemas).sort())
    expect(Object.keys(resultSchemas).sort()).toEqual(Object.keys(operationSchemas).sort())
  })
})
