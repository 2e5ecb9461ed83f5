import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemHttpCall } from '../../platform/http-call.js'
import { announceToKubernetes, type KubernetesApi, kubernetesNodes } from './kubernetes.js'

// An API server, as far as it is used: it keeps the kind and the resources, and asks for versions at a replacement.

let server: Server
let api: KubernetesApi
const kept = new Map<string, Record<string, never>>()
const config = { namespace: 'store', serviceName: 'carport', skipCrd: false }
const NODES = '/apis/deuxfleurs.fr/v1/namespaces/store/garagenodes'
const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'

beforeEach(async () => {
  kept.clear()
  server = createServer(async (request, response) => {
    const reply = (status: number, value: object = {}) =>
      void response.writeHead(status).end(JSON.stringify(value))
    if (request.headers.authorization !== 'Bearer pod-token') return reply(401)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()) : undefined
    const url = new URL(request.url!, 'http://x')
    const path = url.pathname
    if (path.startsWith(NODES) && !kept.has(`${CRDS}/garagenodes.deuxfleurs.fr`)) return reply(404)
    if (request.method === 'POST') {
      kept.set(`${path}/${body.metadata.name}`, {
        ...body,
        metadata: { ...body.metadata, resourceVersion: '1' },
      })
      return reply(201, body)
    }
    if (request.method === 'PUT') {
      const before = kept.get(path) as unknown as { metadata: { resourceVersion: string } }
      if (body.metadata.resourceVersion !== before.metadata.resourceVersion) return reply(409)
      kept.set(path, body)
      return reply(200, body)
    }
    if (path !== NODES) return kept.has(path) ? reply(200, kept.get(path)) : reply(404)
    const [label, value] = url.searchParams.get('labelSelector')!.split('=') as [string, string]
    const items = [...kept]
      .filter(([each]) => each.startsWith(`${NODES}/`))
      .map(([, resource]) => resource as unknown as { metadata: { labels: Record<string, string> } })
      .filter(({ metadata }) => metadata.labels[label] === value)
    return reply(200, { items: [...items, { metadata: {} }, null] })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  api = { url, token: async () => 'pod-token', caFile: null, call: systemHttpCall }
})
afterEach(() => {
  server.close()
})

const own = (n: number, host: string) => ({ id: `${n}`.repeat(64), hostname: `n${n}`, host, port: 3901 })

test('nodes that announced themselves are found by others of the same service, at their newest address', async () => {
  expect(await kubernetesNodes(config, api)).toEqual([])
  await announceToKubernetes(config, api, own(1, '10.0.0.1'))
  await announceToKubernetes(config, api, own(2, '2001:db8::2'))
  await announceToKubernetes({ ...config, serviceName: 'other' }, api, own(3, '10.0.0.3'))
  await announceToKubernetes(config, api, own(1, '10.0.0.9'))
  expect(await kubernetesNodes(config, api)).toEqual([
    { id: own(1, '').id, addresses: ['10.0.0.9:3901'] },
    { id: own(2, '').id, addresses: ['[2001:db8::2]:3901'] },
  ])
})

test('with skip_crd the kind is not made: where it is missing, the announcement fails', async () => {
  const announced = announceToKubernetes({ ...config, skipCrd: true }, api, own(1, '10.0.0.1'))
  await expect(announced).rejects.toThrow(/answered 404 to the announcement/)
  expect([...kept.keys()]).toEqual([])
})

test('a refused token and an address that is a name are errors', async () => {
  await expect(kubernetesNodes(config, { ...api, token: async () => 'old' })).rejects.toThrow(/answered 401/)
  await expect(announceToKubernetes(config, api, own(1, 'node1.example.org'))).rejects.toThrow(
    /no IP address/,
  )
})
