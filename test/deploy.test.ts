/**
 * The files in deploy/, each by the tool that its users have; a test is skipped where its tool is not installed. Through
 * the reverse proxies requests go to a real node.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, type RequestOptions, request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  CreateBucketCommand,
  GetObjectCommand,
  PutBucketWebsiteCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest'
import { freePorts } from '../bench/stores/server-process.js'
import { type Config, loadConfig } from '../src/config/config.js'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { ProcessCluster } from './support/processes.js'
import { isInstalled, makeCertificate, PROXIES, type ProxyPlace, startProxy } from './support/proxy.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const deploy = join(import.meta.dirname, '../deploy')
const read = (name: string) => readFileSync(join(deploy, name), 'utf8')
const SECRET = 'ab'.repeat(32)

function needs(context: TestContext, program: string): void {
  if (!isInstalled(program)) context.skip(`${program} is not installed`)
}

function run(program: string, args: string[], env: NodeJS.ProcessEnv = {}): string {
  return execFileSync(program, args, { encoding: 'utf8', env: { ...process.env, ...env }, stdio: 'pipe' })
}

/** Reads a configuration as a node would. @throws Error with all that is wrong with it */
function configOf(text: string): Config {
  const readSecretFile = () => {
    throw new Error('no secret files here')
  }
  return loadConfig({ text, fileName: 'carport.toml', env: { CARPORT_RPC_SECRET: SECRET }, readSecretFile })
}

describe('containers', () => {
  test('the Dockerfile passes hadolint', (context) => {
    needs(context, 'hadolint')
    run('hadolint', [join(deploy, 'docker/Dockerfile')])
  })

  test.each(['compose.yml', 'compose.cluster.yml'])('Compose takes %s', (name) => {
    const compose = join(deploy, 'docker', name)
    // Without Compose the file is looked at only for what it names: Compose is seldom where no containers run.
    for (const [, file] of read(`docker/${name}`).matchAll(/\.\/([\w.-]+):\//g)) {
      expect(existsSync(join(deploy, 'docker', file!)), file).toBe(true)
    }
    if (!isInstalled('docker-compose')) return
    run('docker-compose', ['-f', compose, 'config', '-q'], {
      CARPORT_RPC_SECRET: SECRET,
      CARPORT_ADMIN_TOKEN: 't',
    })
  })

  test('the nodes of the cluster take their configuration', () => {
    const config = configOf(read('docker/cluster.toml'))
    expect(config.rpc.publicAddrSubnet).toBe('172.30.39.0/24')
    expect(read('docker/compose.cluster.yml')).toContain('subnet: 172.30.39.0/24')
  })

  test('the files that the image is built from reach the builder', () => {
    const ignored = readFileSync(join(deploy, '../.dockerignore'), 'utf8')
    const copied = [...read('docker/Dockerfile').matchAll(/^COPY (?!--)(.*) \S+$/gm)].flatMap(([, names]) =>
      names!.split(' '),
    )
    expect(copied.length).toBeGreaterThan(3)
    for (const name of copied) expect(ignored).toContain(`\n!${name}\n`)
  })

  test('the service "layout" connects three nodes and lays them out, once', async () => {
    const token = 'of-the-test'
    const cluster = await ProcessCluster.create(3, 3, `admin_token = "${token}"`)
    try {
      await Promise.all(cluster.nodes.map((node) => node.start()))
      const nodes = cluster.adminPorts.map(
        (admin, i) => `z${i},http://127.0.0.1:${admin},127.0.0.1:${cluster.rpcPorts[i]},10G`,
      )
      const layOut = () =>
        run(process.execPath, [join(deploy, 'docker/lay-out.mjs'), ...nodes], { CARPORT_ADMIN_TOKEN: token })
      expect(layOut()).toBe('layout 1 of 3 nodes is applied\n')
      expect(layOut()).toBe('layout 1 is there already\n')
      const health = await fetch(`http://127.0.0.1:${cluster.adminPorts[0]}/health`)
      expect(health.status).toBe(200)
    } finally {
      await cluster.dispose()
    }
  })
})

describe('the unit for systemd', () => {
  test('is one, and exposes little', (context) => {
    needs(context, 'systemd-analyze')
    const dir = mkdtempSync(join(tmpdir(), 'carport-unit-'))
    try {
      const unit = join(dir, 'carport.service')
      // The program need not be installed here.
      writeFileSync(unit, read('systemd/carport.service').replace('/usr/local/bin/carport', process.execPath))
      run('systemd-analyze', ['verify', unit])
      // Of 10: services without any of this have 9.6.
      run('systemd-analyze', ['security', '--offline=true', '--threshold=20', unit])
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  test('has its user and its folder of secrets', (context) => {
    needs(context, 'systemd-tmpfiles')
    const [, user] = /^User=(.*)$/m.exec(read('systemd/carport.service'))!
    expect(read('systemd/carport.sysusers')).toContain(`\nu ${user} `)
    expect(read('systemd/carport.tmpfiles')).toMatch(
      new RegExp(`^d /etc/carport 0700 ${user} ${user} -$`, 'm'),
    )
  })
})

describe('the chart for Helm', () => {
  const chart = join(deploy, 'helm/carport')
  const set = ['--set', `rpcSecret.value=${SECRET}`]
  const template = (...more: string[]) =>
    run('helm', ['template', 'store', chart, '--kube-version', '1.30.0', ...set, ...more])

  test('passes helm lint, and its values are checked', (context) => {
    needs(context, 'helm')
    run('helm', ['lint', '--strict', chart, ...set])
    expect(() => template('--set', 'replicas=many')).toThrow(/replicas/)
    expect(() => template('--set', 'rpcSecret.value=short')).toThrow(/rpcSecret/)
  })

  test('makes resources that Kubernetes knows', (context) => {
    needs(context, 'helm')
    needs(context, 'kubernetes-validate')
    const dir = mkdtempSync(join(tmpdir(), 'carport-chart-'))
    try {
      const file = join(dir, 'all.yaml')
      writeFileSync(file, template('--set', 'existingSecret=tokens,s3.rootDomain=.s3.example.org'))
      run('kubernetes-validate', ['--strict', '-k', '1.30', file])
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  test('gives nodes a configuration that they take', (context) => {
    needs(context, 'helm')
    const rendered = template(
      ...['--set', 's3.rootDomain=.s3.example.org,web.rootDomain=.web.example.org'],
      ...['--set-json', 'trustedProxies=["10.1.0.0/16"]', '--set', 'extraConfig=access_log = "all"'],
      ...['--set', 'extraSections=[oidc]'],
    )
    const [, indented] = /^ {2}carport\.toml: \|\n((?: {4}.*\n|\n)+)/m.exec(rendered)!
    const config = configOf(indented!.replace(/^ {4}/gm, '').replace('[oidc]', ''))
    expect(config.kubernetes).toMatchObject({ serviceName: 'store', skipCrd: true })
    expect(config.trustedProxies).toEqual(['10.1.0.0/16'])
    expect(config.accessLog.requests).toBe('all')
  })
})

describe('the reverse proxies', () => {
  const SITE = 'blog'
  const body = randomBytes(3_000_000)
  const dir = mkdtempSync(join(tmpdir(), 'carport-proxies-'))
  const accessLog = join(dir, 'access.log')
  let node: TestNode
  let key: AccessKey

  beforeAll(async () => {
    node = await startTestNode({
      trustedProxies: ['127.0.0.1'],
      accessLog: { requests: 'all', file: accessLog },
    })
    key = await node.createKey('proxies')
    const s3 = node.client(key)
    await s3.send(new CreateBucketCommand({ Bucket: SITE }))
    await s3.send(new PutObjectCommand({ Bucket: SITE, Key: 'index.html', Body: 'welcome' }))
    const WebsiteConfiguration = { IndexDocument: { Suffix: 'index.html' } }
    await s3.send(new PutBucketWebsiteCommand({ Bucket: SITE, WebsiteConfiguration }))
  })
  afterAll(async () => {
    await node?.dispose()
    rmSync(dir, { recursive: true, force: true })
  })

  /** Leads every name to the proxy, from an address that is not the proxy's own, with a claim that must not count. */
  const agent = new Agent({
    rejectUnauthorized: false,
    localAddress: '127.0.0.2',
    lookup: (_, options, callback) =>
      options.all ? callback(null, [{ address: '127.0.0.1', family: 4 }]) : callback(null, '127.0.0.1', 4),
  })

  function ask(options: RequestOptions): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const headers = { 'X-Forwarded-For': '6.6.6.6', Forwarded: 'for=6.6.6.6' }
      const sent = request({ agent, headers, servername: options.host!, ...options }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk
        })
        response.on('end', () => resolve({ status: response.statusCode!, text }))
      })
      sent.on('error', reject).end()
    })
  }

  describe.each(Object.entries(PROXIES))('%s', (name, { program, hasBucketHosts, prepare }) => {
    test('takes its configuration, and serves S3, web sites and administration for the real client', async (context) => {
      needs(context, program)
      const [port] = (await freePorts(1)) as [number]
      const place: ProxyPlace = {
        ...{ dir: mkdtempSync(join(dir, 'proxy-')), port },
        ...{ s3: node.s3!.port, web: node.web!.port, admin: node.adminApi!.port },
      }
      makeCertificate(place.dir)
      const { check, run: args } = prepare(place)
      if (check) run(program, check, { HOME: place.dir, XDG_DATA_HOME: place.dir })
      const proxy = await startProxy(program, args, place)
      const s3 = new S3Client({
        endpoint: `https://s3.localhost:${port}`,
        region: 'us-east-1',
        forcePathStyle: !hasBucketHosts,
        credentials: { accessKeyId: key.id, secretAccessKey: key.secret },
        requestHandler: { httpsAgent: agent },
        maxAttempts: 1,
      })
      try {
        const object = { Bucket: SITE, Key: `by-${name}/größe & more.bin` }
        await expect
          .poll(() =>
            ask({ host: 's3.localhost', port, path: `/${SITE}/index.html` }).then(
              ({ status }) => status,
              () => 0,
            ),
          )
          .toBe(403)
        await s3.send(new PutObjectCommand({ ...object, Body: body }))
        const { Body } = await s3.send(new GetObjectCommand(object))
        expect(Buffer.from(await Body!.transformToByteArray()).equals(body)).toBe(true)

        const host = `${SITE}.web.localhost`
        const page = `page-${name}.html`
        await s3.send(new PutObjectCommand({ Bucket: SITE, Key: page, Body: 'welcome' }))
        expect(await ask({ host, port, path: `/${page}` })).toEqual({ status: 200, text: 'welcome' })

        const admin = { host: 'admin.localhost', port }
        expect((await ask({ ...admin, path: '/health' })).status).toBe(200)
        expect((await ask({ ...admin, path: '/v2/GetClusterStatus' })).status).toBe(403)

        const logged = () =>
          readFileSync(accessLog, 'utf8')
            .split('\n')
            .filter((line) => line.includes(`by-${name}/`) || line.includes(`/${page}`))
            .map((line) => (JSON.parse(line) as { source: string }).source)
        await expect.poll(logged).toEqual(Array(4).fill('127.0.0.2'))
      } finally {
        s3.destroy()
        await proxy.stop()
      }
    })
  })
})

test('the page on reverse proxies leads to each of the files, and each goes with its trusted_proxies', () => {
  const page = readFileSync(join(deploy, '../docs/reverse-proxies.md'), 'utf8')
  const [trusted] = /^trusted_proxies = .*$/m.exec(page)!
  for (const name of readdirSync(join(deploy, 'proxies'))) {
    expect(page).toContain(`(../deploy/proxies/${name})`)
    // The routes of Traefik are the second of its files.
    if (name !== 'traefik-carport.yml') expect(read(`proxies/${name}`)).toContain(trusted)
  }
})
