import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import type { ConsulDiscovery } from '../../config/discovery.js'
import { realClock, systemRandom } from '../../platform/clock-and-random.js'
import { systemHttpCall } from '../../platform/http-call.js'
import { silentLog } from '../../util/log.js'
import type { FoundNode } from './consul.js'
import { consulDirectory, discovery } from './discovery.js'

/** Consul's catalog, as far as it is used: what is registered is listed. */
let server: Server
const asked: { method: string; path: string; token: unknown }[] = []

async function startConsul(): Promise<string> {
  const listed: object[] = [{ Address: '10.9.9.9', ServicePort: 80, ServiceMeta: {} }, { garbage: true }]
  server = createServer(async (request, response) => {
    const token = request.headers['x-consul-token']
    asked.push({ method: request.method!, path: request.url!, token })
    if (token !== 'secret') return void response.writeHead(403).end('no')
    if (request.method === 'GET') return void response.end(JSON.stringify(listed))
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const entry = JSON.parse(Buffer.concat(chunks).toString())
    const { Address, Port, Meta } = entry.Service ?? entry
    listed.push({ Address: entry.Address, ServiceAddress: Address, ServicePort: Port, ServiceMeta: Meta })
    response.end('true')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

afterEach(() => {
  server.close()
  asked.length = 0
})

const env = { clock: realClock, random: systemRandom, log: silentLog }
const config = (url: string, more: Partial<ConsulDiscovery> = {}): ConsulDiscovery => ({
  ...{ api: 'catalog', url, serviceName: 'carport nodes', token: 'secret', tags: ['a'], meta: {} },
  ...{ caFile: null, certFile: null, keyFile: null, skipVerify: false },
  ...more,
})
const own = (n: number) => ({
  id: `${n}`.repeat(64),
  hostname: `n${n}`,
  host: n === 6 ? '2001:db8::6' : `10.0.0.${n}`,
  port: 3901,
})

test.each(['catalog', 'agent'] as const)(
  'a node that announced itself by the %s API is found by the others',
  async (api) => {
    const url = await startConsul()
    const heard: FoundNode[][] = []
    for (const n of [1, 6]) {
      const worker = discovery(
        'consul',
        env,
        consulDirectory(config(url, { api }), systemHttpCall),
        own(n),
        (nodes) => heard.push(nodes),
      )
      worker.start()
      await vi.waitFor(() =>
        expect(asked.filter(({ method }) => method === 'PUT')).toHaveLength(n === 1 ? 1 : 2),
      )
      await worker.stop()
    }
    const last = discovery('consul', env, consulDirectory(config(url), systemHttpCall), undefined, (nodes) =>
      heard.push(nodes),
    )
    last.start()
    await vi.waitFor(() => expect(heard).toHaveLength(3))
    await last.stop()
    expect(heard).toEqual([
      [],
      [{ id: own(1).id, addresses: ['10.0.0.1:3901'] }],
      [
        { id: own(1).id, addresses: ['10.0.0.1:3901'] },
        { id: own(6).id, addresses: ['[2001:db8::6]:3901'] },
      ],
    ])
    expect(asked[0]).toMatchObject({ path: '/v1/catalog/service/carport%20nodes', token: 'secret' })
  },
)

test('a refusal is counted, and tried again later', async () => {
  const url = await startConsul()
  const worker = discovery(
    'consul',
    env,
    consulDirectory(config(url, { token: null }), systemHttpCall),
    own(1),
    () => {},
  )
  worker.start()
  await vi.waitFor(() => expect(worker.stats().lastError?.message).toMatch(/Consul answered 403/))
  await worker.stop()
})
