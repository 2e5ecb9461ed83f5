import type { Table } from '../../table/table.js'
import type { Clock } from '../../util/clock.js'
import type { Core } from '../core.js'
import { counter, SECONDS_BUCKETS } from './families.js'
import { Counter, Histogram, type Registry } from './prom-client.js'

/**
 * Requests to the replicated tables, and changes of rows on this node. The tables' own methods are wrapped: where no
 * metrics are served, they are as they were.
 */
export function tableMetrics(registry: Registry, clock: Clock, { model, blockRefs }: Core): void {
  const tables = [...Object.values(model.tables), blockRefs] as Table<unknown>[]
  const families = (kind: 'get' | 'put', help: string) => {
    const common = { labelNames: ['table_name'], registers: [registry] }
    return {
      requests: new Counter({ name: `table_${kind}_request_counter`, help, ...common }),
      durations: new Histogram({
        ...{ name: `table_${kind}_request_duration`, help: `Seconds of those: ${help.toLowerCase()}` },
        ...{ ...common, buckets: SECONDS_BUCKETS },
      }),
    }
  }
  const gets = families('get', 'Reads of rows and ranges of a table')
  const puts = families('put', 'Writes of rows of a table')
  for (const table of tables) {
    const { name } = table.schema
    const measure = <A extends unknown[], R>(family: typeof gets, work: (...args: A) => R) => {
      const requests = family.requests.labels(name)
      const durations = family.durations.labels(name)
      return (...args: A): R => {
        const startedMs = clock.monotonicMs()
        requests.inc()
        const result = work(...args)
        const done = () => durations.observe((clock.monotonicMs() - startedMs) / 1000)
        // What was answered at once took no time that a histogram in milliseconds could show.
        if (result instanceof Promise) result.then(done, done)
        else durations.observe(0)
        return result
      }
    }
    // Not `get`, which reads by `read`; nor `getFromQuorum`, which only full tables have as a read of its own.
    table.read = measure(gets, table.read.bind(table))
    table.range = measure(gets, table.range.bind(table))
    table.insert = measure(puts, table.insert.bind(table))
    table.replace = measure(puts, table.replace.bind(table))
    table.insertLatest = measure(puts, table.insertLatest.bind(table))
    table.insertMany = measure(puts, table.insertMany.bind(table))
  }
  const changed = (metric: string, help: string, key: 'written' | 'dropped') =>
    counter(registry, metric, help, ['table_name'], (tell) => {
      for (const { local } of tables) tell({ table_name: local.schema.name }, local.changes[key])
    })
  changed('table_internal_update_counter', 'Rows of a table written on this node', 'written')
  changed('table_internal_delete_counter', 'Rows of a table that this node let go of', 'dropped')
}
