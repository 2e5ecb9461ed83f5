// Loaded into a node's process before its program: host names that end with ".life.test" are looked up in the file that
// LIFE_HOSTS names, each time anew. It stands for a DNS server whose answers change.
import dns from 'node:dns'
import { readFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const { lookup } = dns

dns.lookup = (hostname, options, callback) => {
  const done = typeof options === 'function' ? options : callback
  const all = typeof options === 'object' && options?.all === true
  if (!hostname.endsWith('.life.test')) return lookup(hostname, options, callback)
  const line = readFileSync(process.env.LIFE_HOSTS, 'utf8')
    .split('\n')
    .find((entry) => entry.endsWith(` ${hostname}`))
  const address = line?.split(' ')[0]
  process.nextTick(() => {
    if (!address) done(Object.assign(new Error(`no such host: ${hostname}`), { code: 'ENOTFOUND' }))
    else if (all) done(null, [{ address, family: 4 }])
    else done(null, address, 4)
  })
}
syncBuiltinESMExports()
