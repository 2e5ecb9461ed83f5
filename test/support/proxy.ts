import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'

const proxies = join(import.meta.dirname, '../../deploy/proxies')

/** Whether a program is on the path. */
export function isInstalled(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0
}

/** Where a configuration is to find its things, instead of the places that it names. */
export interface ProxyPlace {
  dir: string
  /** Where the proxy listens, with TLS. */
  port: number
  s3: number
  web: number
  admin: number
}

interface ProxyKind {
  program: string
  /** Whether it takes the hosts below s3.example.org: Caddy would need a DNS challenge for these. */
  hasBucketHosts: boolean
  /** Writes the configuration for a place; returns the arguments that check it, and those that run it. */
  prepare(place: ProxyPlace): { check: string[] | undefined; run: string[] }
}

/** A file of deploy/proxies whose domain, addresses and ports are those of the test. */
function adapted(name: string, { s3, web, admin }: ProxyPlace, replacements: [string, string][]): string {
  let text = readFileSync(join(proxies, name), 'utf8')
  const ports: [string, string][] = [3900, 3902, 3903].map((port, i) => [
    `127.0.0.1:${port}`,
    `127.0.0.1:${[s3, web, admin][i]}`,
  ])
  for (const [from, to] of [...replacements, ...ports]) {
    if (!text.includes(from)) throw new Error(`${name} has no ${from}`)
    text = text.replaceAll(from, to)
  }
  return text.replaceAll('example.org', 'localhost').replaceAll('example\\.org', 'localhost')
}

function write(dir: string, name: string, text: string): string {
  const path = join(dir, name)
  writeFileSync(path, text)
  return path
}

export const PROXIES: Readonly<Record<string, ProxyKind>> = {
  nginx: {
    program: 'nginx',
    hasBucketHosts: true,
    prepare(place) {
      const { dir, port } = place
      const site = adapted('carport.nginx.conf', place, [
        ['listen 443 ssl', `listen 127.0.0.1:${port} ssl`],
        ['/etc/letsencrypt/live/example.org/fullchain.pem', join(dir, 'cert.pem')],
        ['/etc/letsencrypt/live/example.org/privkey.pem', join(dir, 'key.pem')],
      ])
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      const config = write(
        dir,
        'nginx.conf',
        `daemon off; pid ${dir}/pid; error_log stderr;
${process.getuid?.() === 0 ? 'user root;' : ''}
events {}
http {
access_log off;
${temporary.map((name) => `${name}_temp_path ${dir}/${name};`).join('\n')}
${site}
}`,
      )
      return { check: ['-t', '-c', config], run: ['-c', config] }
    },
  },
  caddy: {
    program: 'caddy',
    hasBucketHosts: false,
    prepare(place) {
      const { dir, port } = place
      const text = adapted('Caddyfile', place, [
        [
          '\n{\n',
          `\n{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n\thttps_port ${port}\n`,
        ],
      ])
      const args = ['--adapter', 'caddyfile', '--config', write(dir, 'Caddyfile', text)]
      return { check: ['validate', ...args], run: ['run', ...args] }
    },
  },
  haproxy: {
    program: 'haproxy',
    hasBucketHosts: true,
    prepare(place) {
      const { dir, port } = place
      const certificate = ['cert.pem', 'key.pem'].map((name) => readFileSync(join(dir, name), 'utf8'))
      mkdirSync(join(dir, 'certs'), { recursive: true })
      write(dir, 'certs/carport.pem', certificate.join(''))
      const text = adapted('haproxy.cfg', place, [
        ['bind :443', `bind 127.0.0.1:${port}`],
        ['/etc/haproxy/certs', join(dir, 'certs')],
        ['port 3903', `port ${place.admin}`],
      ])
      const config = write(dir, 'haproxy.cfg', text)
      return { check: ['-c', '-f', config], run: ['-db', '-f', config] }
    },
  },
  traefik: {
    program: 'traefik',
    hasBucketHosts: true,
    prepare(place) {
      const { dir, port } = place
      const routes = adapted('traefik-carport.yml', place, [
        ['tls:\n        certResolver: default', 'tls: {}'],
        ['port: 3903', `port: ${place.admin}`],
      ])
      const own = readFileSync(join(proxies, 'traefik.yml'), 'utf8')
        .replace('":443"', `"127.0.0.1:${port}"`)
        .replace('/etc/traefik/carport.yml', write(dir, 'routes.yml', routes))
        .replace(/^certificatesResolvers:\n(?: .*\n)+/m, 'global: { checkNewVersion: false }\n')
      // It has no check of its own: a configuration that it does not take ends its start.
      return { check: undefined, run: [`--configFile=${write(dir, 'traefik.yml', own)}`] }
    },
  },
}

/** Makes a certificate for the proxies that do not make their own. */
export function makeCertificate(dir: string): void {
  const names = 'subjectAltName=DNS:localhost,DNS:*.localhost,DNS:*.s3.localhost,DNS:*.web.localhost'
  const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', join(dir, 'key.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', names, '-days', '2']
  execFileSync('openssl', ['req', '-x509', ...key, ...subject, '-out', join(dir, 'cert.pem')], {
    stdio: 'ignore',
  })
}

/** Starts a proxy; resolves when it listens. @throws Error with its output when it ends before */
export async function startProxy(
  program: string,
  args: string[],
  { dir, port }: ProxyPlace,
): Promise<{ stop(): Promise<void> }> {
  const env = { PATH: process.env.PATH, HOME: dir, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir }
  const child = spawn(program, args, { cwd: dir, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      output += data
    })
  }
  while (!(await listens(port))) {
    if (child.exitCode !== null) throw new Error(`${program} ended:\n${output}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return { stop: () => stopped(child) }
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
