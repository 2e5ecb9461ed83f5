import { describe, expect, test } from 'vitest'
import { readNotifications } from './notifications.js'
import { Findings } from './section.js'

const CONTEXT = {
  env: {},
  readSecretFile: () => ({ text: 'from file\n', mode: 0o600 }),
  allowWorldReadable: false,
}

function read(table: Record<string, unknown>, env: Record<string, string> = {}) {
  const findings = new Findings()
  const targets = readNotifications(table, { ...CONTEXT, env }, findings)
  return { targets, problems: findings.problems.map(({ key, message }) => `${key} ${message}`) }
}

const hook = { type: 'webhook', url: 'https://example.org/hook' }

describe('targets of notifications', () => {
  test('of each type, with defaults', () => {
    const { targets, problems } = read({
      hook: { ...hook, secret: 's' },
      bus: { type: 'nats', url: 'nats://localhost:4222', subject: 'a.b' },
      'my-queue': { type: 'redis', url: 'redis://localhost', user: 'u', secret_file: '/x' },
    })
    expect(problems).toEqual([])
    expect(targets).toEqual([
      { name: 'hook', ...hook, user: null, secret: 's', subject: 'carport.events', list: 'carport:events' },
      expect.objectContaining({ name: 'bus', subject: 'a.b', secret: null }),
      expect.objectContaining({ name: 'my-queue', user: 'u', secret: 'from file' }),
    ])
  })
  test('take their secrets from the environment first', () => {
    const { targets } = read({ 'my-hook': hook }, { CARPORT_NOTIFICATIONS_MY_HOOK_SECRET: 'e' })
    expect(targets[0]!.secret).toBe('e')
  })
  test('none without the section', () => {
    expect(readNotifications(null, CONTEXT, new Findings())).toEqual([])
  })
  test.each([
    [{ hook: 'x' }, 'notifications.hook is "x"'],
    [{ 'a b': hook }, 'notifications.a b has a name'],
    [{ hook: { url: hook.url } }, 'notifications.hook.type is missing'],
    [{ hook: { type: 'webhook' } }, 'notifications.hook.url is missing'],
    [{ hook: { ...hook, type: 'kafka' } }, 'notifications.hook.type is "kafka", which is not offered'],
    [{ hook: { ...hook, url: 'ftp://x' } }, 'notifications.hook.url is "ftp://x"'],
    [{ hook: { ...hook, url: 'https://u:p@x/' } }, 'notifications.hook.url has a user or a password'],
    [{ hook: { ...hook, subject: 'a' } }, 'notifications.hook.subject is a key of type "nats"'],
    [{ hook: { ...hook, list: 'a' } }, 'notifications.hook.list is a key of type "redis"'],
    [{ hook: { ...hook, user: 'a' } }, 'notifications.hook.user is no key'],
    [{ bus: { type: 'nats', url: 'nats://x', subject: 'a.*' } }, 'notifications.bus.subject is "a.*"'],
    [{ hook: { ...hook, secret: 's', secret_file: 'f' } }, 'notifications.hook.secret is set together'],
    [{ hook: { ...hook, colour: 1 } }, 'notifications.hook.colour is not a known key'],
  ])('%j is refused', (table, problem) => {
    expect(read(table).problems).toEqual([expect.stringContaining(problem)])
  })
})
