import { expect, it } from 'vitest'
import { CONFIG, cli, NODE_A } from '../../testing/cli-fakes.js'
import { machine } from '../../testing/diagnosis-facts.js'

const diagnosis = (findings: object[]) => ({
  'cluster.diagnose': { findings, checks: ['clocks'], nodesAsked: 3, nodesAnswered: 2 },
})
const full = {
  ...{ severity: 'error', check: 'disk-full', node: NODE_A },
  ...{ message: 'the disk of /d\x1b[2J is full', help: 'delete objects' },
}

it('doctor tells that nothing is wrong, and what it looked at', async () => {
  const { status, out, err } = await cli(['doctor'], { answers: diagnosis([]) })
  expect({ status, out, err }).toEqual({
    status: 0,
    out: 'Nothing is wrong. Looked at: clocks (2 of 3 nodes answered).',
    err: '',
  })
})

it('doctor prints each finding with what helps, and fails', async () => {
  const { status, out, err } = await cli(['doctor'], { answers: diagnosis([full]) })
  expect(status).toBe(1)
  expect(out).toMatch(
    /^ERROR {2}disk-full {2}node aa11000000000000\n {2}the disk of \/d\\u001b\[2J is full\n/,
  )
  expect(out).toContain('What helps: delete objects')
  expect(err).toContain('1 error and 0 warnings')
})

it('mere remarks are no failure', async () => {
  const { status, out } = await cli(['doctor'], { answers: diagnosis([{ ...full, severity: 'info' }]) })
  expect(status).toBe(0)
  expect(out).toContain('INFO  disk-full')
})

it('doctor --json prints data, with the same exit status', async () => {
  const { status, out } = await cli(['doctor', '--json'], { answers: diagnosis([full]) })
  expect(status).toBe(1)
  expect(JSON.parse(out)).toMatchObject({
    serverAnswers: true,
    findings: [{ check: 'disk-full' }],
    nodesAnswered: 2,
  })
})

it('without a server, doctor looks at what the configuration names', async () => {
  const secrets = [{ what: 'nodeKey' as const, path: '/m/node_key.pem', mode: 0o644 }]
  const { status, out, lookedAt } = await cli(['doctor', '--json'], {
    isDown: true,
    stopped: { machine: machine({ secrets }) },
  })
  expect(status).toBe(1)
  expect(lookedAt).toMatchObject([{ metadataDir: '/m' }])
  const { findings, serverAnswers } = JSON.parse(out)
  expect(serverAnswers).toBe(false)
  expect(findings.map(({ check }: { check: string }) => check)).toEqual(['server-stopped', 'secret-readable'])
})

it('a configuration with problems is a finding for each', async () => {
  const files = { '/etc/carport.toml': `${CONFIG}\n[admin]\napi_bind_adr = "x"\n` }
  const { status, out } = await cli(['doctor'], { files })
  expect(status).toBe(1)
  expect(out).toMatch(/ERROR {2}configuration-wrong\n {2}\/etc\/carport.toml: admin.api_bind_adr/)
})

it('a secret file that others may read does not keep doctor from the rest', async () => {
  const files = {
    '/etc/carport.toml': CONFIG.replace(/rpc_secret = ".*"/, 'rpc_secret_file = "/secret"'),
    '/secret': '1799bccfd7411eddcf9ebd316bc1f5287ad12a68094e1c6ac6abde7e6feae1ec',
  }
  const { status, targets } = await cli(['doctor'], {
    files,
    modes: { '/secret': 0o100644 },
    answers: diagnosis([]),
  })
  expect(status).toBe(0)
  expect(targets).toHaveLength(1)
})

it('another node is asked by -h, and is not looked at from outside when it is down', async () => {
  const { status, err, lookedAt } = await cli(['-h', `${NODE_A}@10.0.0.1:3901`, 'doctor'], { isDown: true })
  expect({ status, lookedAt }).toEqual({ status: 1, lookedAt: [] })
  expect(err).toContain('cannot reach the node')
})
