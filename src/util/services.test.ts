import { expect, test } from 'vitest'
import type { Service } from './service.js'
import { Services } from './services.js'

function recorded(log: string[], name: string, fails?: 'start' | 'stop'): Service {
  const step = async (what: 'start' | 'stop') => {
    log.push(`${what} ${name}`)
    if (fails === what) throw new Error(`${name} does not ${what}`)
  }
  return { name, start: () => step('start'), stop: () => step('stop') }
}

test('services start in order and stop in reverse, once', async () => {
  const log: string[] = []
  const services = new Services(
    'all',
    ['a', 'b', 'c'].map((name) => recorded(log, name)),
  )
  await services.start()
  await services.stop()
  await services.stop()
  expect(log).toEqual(['start a', 'start b', 'start c', 'stop c', 'stop b', 'stop a'])
  await services.start()
  expect(log.slice(6)).toEqual(['start a', 'start b', 'start c'])
})

test('when one does not start, those before it stop again', async () => {
  const log: string[] = []
  const services = new Services('all', [recorded(log, 'a'), recorded(log, 'b', 'start'), recorded(log, 'c')])
  await expect(services.start()).rejects.toThrow('b does not start')
  expect(log).toEqual(['start a', 'start b', 'stop b', 'stop a'])
})

test('one that does not stop does not keep the others running', async () => {
  const log: string[] = []
  const services = new Services('all', [recorded(log, 'a'), recorded(log, 'b', 'stop')])
  await services.start()
  await expect(services.stop()).rejects.toThrow('b does not stop')
  expect(log.slice(2)).toEqual(['stop b', 'stop a'])
})
