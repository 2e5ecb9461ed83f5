import { execFileSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { NodeProcess, singleNodeEnv } from './support/processes.js'

const root = join(import.meta.dirname, '..')
let folder: string
let packed: string[]
let tarball: string

/** Packs a fresh build, since files that older sources left in dist belong to no package. */
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'carport-package-'))
  for (const name of ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md', 'docs']) {
    cpSync(join(root, name), join(folder, name), { recursive: true })
  }
  const tsc = join(root, 'node_modules/.bin/tsc')
  const options = ['--outDir', join(folder, 'dist'), '--tsBuildInfoFile', join(folder, 'tsbuildinfo')]
  execFileSync(tsc, ['-p', join(root, 'tsconfig.build.json'), ...options])
  const vite = join(root, 'node_modules/.bin/vite')
  const place = ['--outDir', join(folder, 'dist/console'), '--logLevel', 'error']
  execFileSync(vite, ['build', '--config', join(root, 'vite.console.config.ts'), ...place], { cwd: root })
  cpSync(join(root, 'src/client'), join(folder, 'src/client'), { recursive: true })
  cpSync(join(root, 'tsconfig.json'), join(folder, 'tsconfig.json'))
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  npm('run', '-s', 'build:client')
  const [report] = JSON.parse(npm('pack', '--json', '--ignore-scripts', '--offline'))
  packed = report.files.map(({ path }: { path: string }) => path).sort()
  tarball = join(folder, report.filename)
  execFileSync('tar', ['-xzf', tarball], { cwd: folder })
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function npm(...args: string[]): string {
  return execFileSync('npm', args, { cwd: folder, encoding: 'utf8' })
}

function filesBelow(name: string): string[] {
  const entries = readdirSync(join(root, name), { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
}

test('the package holds the compiled sources and the documents for who runs it, and nothing else', () => {
  const compiled = filesBelow('src')
    .filter(
      (file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !/^src\/(console|client)\//.test(file),
    )
    .map((file) => `dist/${file.replace(/\.ts$/, '.js')}`)
  const documents = [
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'SECURITY.md',
    ...filesBelow('docs').filter((file) => !file.endsWith('.png')),
  ]
  const isConsole = (file: string) => file.startsWith('dist/console/')
  const isClient = (file: string) => file.startsWith('dist/client/')
  expect(packed.filter((file) => !isConsole(file) && !isClient(file))).toEqual(
    ['package.json', ...documents, ...compiled].sort(),
  )
  const types = filesBelow('src/client').filter((file) => file.endsWith('.ts'))
  const client = ['k2v.js', ...types.map((file) => basename(file).replace(/\.ts$/, '.d.ts'))]
  expect(packed.filter(isClient)).toEqual(client.map((file) => `dist/client/${file}`).sort())
  const console = packed.filter(isConsole)
  expect(console).toContain('dist/console/index.html')
  for (const file of console)
    expect(file).toMatch(/^dist\/console\/(assets\/)?[\w-]+\.(html|svg|js|css)(\.br)?$/)
  const programs = packed.filter((file) => !file.startsWith('docs/') && !isClient(file))
  const wrong = programs.filter((file) => /\.map$|\.ts$|\btest|kit|bench|fake|\bsim/.test(file))
  expect(wrong).toEqual([])
})

test('the packed program starts with the dependencies of the package', () => {
  // The extracted program finds its dependencies in the folder above: they are this repository's.
  const program = join(folder, 'package/dist/src/cli/main.js')
  const { version } = JSON.parse(npm('pkg', 'get', 'version', 'name'))
  const env = { PATH: process.env.PATH }
  const output = execFileSync(process.execPath, [program, '--version'], {
    encoding: 'utf8',
    cwd: folder,
    env,
  })
  expect(output).toContain(version)
})

test('carport/k2v is imported by its name, types and all, and needs no other package', () => {
  const app = join(folder, 'app')
  mkdirSync(join(app, 'node_modules'), { recursive: true })
  cpSync(join(folder, 'package'), join(app, 'node_modules/carport'), { recursive: true })
  const source = `import { K2vClient, K2vError, type K2vItem } from 'carport/k2v'
const k2v = new K2vClient({ endpoint: 'http://localhost:1', bucket: 'b', accessKeyId: 'k', secretAccessKey: 's' })
const read = (): Promise<K2vItem | undefined> => k2v.readItem('p', 's')
// @ts-expect-error: a value is no number, so the types are there
k2v.insertItem('p', 's', 7).catch((error) => console.log(error instanceof K2vError, error.code, typeof read))
`
  writeFileSync(join(app, 'app.mts'), source)
  const options = ['--ignoreConfig', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', '']
  execFileSync(join(root, 'node_modules/.bin/tsc'), [...options, 'app.mts'], { cwd: app, encoding: 'utf8' })
  const output = execFileSync(process.execPath, ['app.mjs'], { cwd: app, encoding: 'utf8' })
  expect(output).toBe('true InvalidArgument function\n')
})

test('the packed file is installed by npm without build scripts, in an empty folder, and stores an object', {
  timeout: 180_000,
}, async () => {
  const empty = mkdtempSync(join(tmpdir(), 'carport-install-'))
  const prefix = join(empty, 'prefix')
  const credentials = { accessKeyId: `GK${'0a'.repeat(12)}`, secretAccessKey: '1b'.repeat(32) }
  const single = await singleNodeEnv({ credentials })
  let node: NodeProcess | undefined
  let s3: S3Client | undefined
  try {
    const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--prefix', prefix]
    execFileSync('npm', ['install', '-g', ...options, tarball], { cwd: empty, stdio: 'pipe' })
    const program = join(prefix, 'bin/carport')
    const env = { PATH: process.env.PATH }
    const version = execFileSync(program, ['--version'], { cwd: empty, env, encoding: 'utf8' })
    expect(version.trim()).toBe(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version)
    node = new NodeProcess(['server', '--single-node', '--default-bucket'], single.env, empty, [program])
    await node.start()
    const endpoint = `http://127.0.0.1:${single.ports.s3}`
    s3 = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials })
    // Compressible, and long enough for the hashing threads: so all native modules have their part.
    const object = { Bucket: 'default-bucket', Key: 'installed' }
    const sent = Buffer.alloc(3 << 20, 'installed ')
    await s3.send(new PutObjectCommand({ ...object, Body: sent }))
    const { Body } = await s3.send(new GetObjectCommand(object))
    expect(Buffer.from(await Body!.transformToByteArray()).equals(sent)).toBe(true)
    expect(await node.stop()).toBe(0)
  } finally {
    s3?.destroy()
    await node?.stop('SIGKILL')
    rmSync(empty, { recursive: true, force: true })
  }
})
