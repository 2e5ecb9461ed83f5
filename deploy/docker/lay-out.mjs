/**
 * Connects the nodes of a new cluster and lays them out, by the admin API; does nothing where a layout exists.
 * Usage: CARPORT_ADMIN_TOKEN=… node lay-out.mjs ZONE,ADMIN_URL,RPC_ADDRESS,CAPACITY …
 */
const UNITS = { '': 1, K: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 }
const ATTEMPTS = 60

const token = process.env.CARPORT_ADMIN_TOKEN
const nodes = process.argv.slice(2).map((text) => {
  const [zone, admin, rpc, capacity] = text.split(',')
  const [, number, unit] =
    /^(\d+)([KMGTP]?)$/.exec(capacity ?? '') ?? fail(`${text} has no capacity such as 100G`)
  return { zone, admin, rpc, capacity: Number(number) * UNITS[unit] }
})
if (!token || nodes.length === 0) fail('set CARPORT_ADMIN_TOKEN, and name the nodes')

function fail(message) {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}

async function call(admin, path, body) {
  const answer = await fetch(`${admin}/v2/${path}`, {
    method: body ? 'POST' : 'GET',
    headers: { authorization: `Bearer ${token}` },
    body: body && JSON.stringify(body),
  })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer.json()
}

/** Waits until a node that is starting answers. */
async function idOf({ admin }) {
  for (let attempt = 1; ; attempt++) {
    try {
      return Object.keys((await call(admin, 'GetNodeInfo?node=self')).success)[0]
    } catch (error) {
      if (attempt === ATTEMPTS) fail(`${admin} does not answer: ${error.cause?.message ?? error.message}`)
      await new Promise((resolve) => setTimeout(resolve, 1000))
    }
  }
}

const ids = await Promise.all(nodes.map(idOf))
const { admin } = nodes[0]
const connected = await call(
  admin,
  'ConnectClusterNodes',
  nodes.slice(1).map(({ rpc }, i) => `${ids[i + 1]}@${rpc}`),
)
for (const { success, error } of connected) if (!success) fail(error)
const { version, roles } = await call(admin, 'GetClusterLayout')
if (roles.length > 0) {
  process.stdout.write(`layout ${version} is there already\n`)
} else {
  const wanted = nodes.map(({ zone, capacity }, i) => ({ id: ids[i], zone, capacity, tags: [] }))
  await call(admin, 'UpdateClusterLayout', { roles: wanted })
  await call(admin, 'ApplyClusterLayout', { version: version + 1 })
  process.stdout.write(`layout ${version + 1} of ${nodes.length} nodes is applied\n`)
}
