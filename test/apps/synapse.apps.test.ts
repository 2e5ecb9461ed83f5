/** Matrix Synapse with synapse-s3-storage-provider: media in a bucket, beside or instead of the local media store. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ListObjectsV2Command } from '@aws-sdk/client-s3'
import { expect, onTestFinished, test } from 'vitest'
import { freePorts, ServerProcess } from '../../bench/stores/server-process.js'
import { pasted } from './kit/page.js'
import { fromPip, installed } from './kit/programs.js'
import { must, scratch } from './kit/run.js'
import { application, type Home } from './kit/store.js'

const PACKAGES = ['matrix-synapse==1.163.2', 'synapse-s3-storage-provider==1.7.0']
const synapse = await installed(() => fromPip('synapse', PACKAGES))

interface Site {
  folder: string
  port: number
}

const homeserver = ({ folder, port }: Site) => `
server_name: "matrix.test"
pid_file: ${folder}/pid
signing_key_path: ${folder}/signing.key
media_store_path: ${folder}/media_store
database: { name: sqlite3, args: { database: "${folder}/homeserver.db" } }
listeners:
  - { port: ${port}, type: http, bind_addresses: ["127.0.0.1"], resources: [{ names: [client, media] }] }
trusted_key_servers: []
enable_registration: true
enable_registration_without_verification: true
macaroon_secret_key: "only for tests"
form_secret: "only for tests"
report_stats: false
`

const provider = (home: Home) =>
  // A host name instead of an address, for which the library needs to be told of path style.
  pasted('synapse.md', 'yaml', home).replace('http://127.0.0.1', 'http://localhost')

application('Synapse', synapse, ({ tools: bin, nodes, store }) => {
  const python = join(bin, 'python3')

  async function site(): Promise<Site & { home: Home; env: NodeJS.ProcessEnv }> {
    const home = await store().home('matrix-media')
    const folder = scratch()
    const [port] = (await freePorts(1)) as [number]
    mkdirSync(join(folder, 'media_store'))
    // The provider has no setting for the style of addresses, so the AWS configuration says it.
    writeFileSync(join(folder, 'aws-config'), '[default]\ns3 =\n  addressing_style = path\n')
    const env = { ...home.env, AWS_CONFIG_FILE: join(folder, 'aws-config') }
    return { folder, port, home, env }
  }

  /** Starts Synapse. @returns how to upload, download and stop it */
  async function start({ folder, port, env }: Site & { env: NodeJS.ProcessEnv }, more = '') {
    const config = join(folder, 'homeserver.yaml')
    writeFileSync(config, homeserver({ folder, port }) + more)
    const run = ['-m', 'synapse.app.homeserver', '-c', config]
    await must(python, [...run, '--generate-keys'], { env, cwd: folder })
    const server = new ServerProcess([python, ...run], env, join(folder, 'log'))
    server.start()
    onTestFinished(() => server.stop('SIGKILL'))
    const base = `http://127.0.0.1:${port}/_matrix`
    await server.untilAnswering(`${base}/client/versions`)
    const register = await fetch(`${base}/client/v3/register`, {
      method: 'POST',
      body: JSON.stringify({
        username: `user${randomBytes(4).toString('hex')}`,
        password: 'not very secret',
        auth: { type: 'm.login.dummy' },
      }),
    })
    const { access_token } = (await register.json()) as { access_token: string }
    const headers = { authorization: `Bearer ${access_token}` }
    return {
      stop: () => server.stop(),
      upload: async (body: Buffer): Promise<string> => {
        const url = `${base}/media/v3/upload?filename=photo.bin`
        const response = await fetch(url, { method: 'POST', headers, body: new Uint8Array(body) })
        if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
        const { content_uri } = (await response.json()) as { content_uri: string }
        return content_uri.slice('mxc://'.length)
      },
      download: async (media: string): Promise<Buffer | number> => {
        const response = await fetch(`${base}/client/v1/media/download/${media}`, { headers })
        return response.ok ? Buffer.from(await response.arrayBuffer()) : response.status
      },
    }
  }

  const keys = async ({ s3, bucket }: Home) =>
    ((await s3.send(new ListObjectsV2Command({ Bucket: bucket }))).Contents ?? []).map(({ Key }) => Key!)

  /** Forgets the local copies, as a cron job does where the bucket is to hold the only one. */
  const emptyLocalStore = (folder: string) =>
    rmSync(join(folder, 'media_store/local_content'), { recursive: true, force: true })

  test('media are stored in the bucket, and come back from it', async () => {
    const place = await site()
    const matrix = await start(place, provider(place.home))
    const [small, large] = [randomBytes(2000), randomBytes(20 * 1024 * 1024)]
    const [smallId, largeId] = [await matrix.upload(small), await matrix.upload(large)]
    expect(await keys(place.home)).toHaveLength(2)
    emptyLocalStore(place.folder)
    expect(await matrix.download(smallId)).toEqual(small)
    expect(large.equals((await matrix.download(largeId)) as Buffer)).toBe(true)
  })

  test('s3_media_upload moves what is in the local store already, and Synapse finds it', async () => {
    const place = await site()
    const { folder, env, home } = place
    const before = await start(place)
    const old = [randomBytes(3000), randomBytes(9 * 1024 * 1024), randomBytes(100)]
    const ids = await Promise.all(old.map((body) => before.upload(body)))
    await before.stop()

    const tool = (...args: string[]) =>
      must(python, [join(bin, 's3_media_upload'), '--no-progress', ...args], { env, cwd: folder })
    const mediaStore = join(folder, 'media_store')
    const config = ['--homeserver-config-path', join(folder, 'homeserver.yaml')]
    const endpoint = ['--endpoint-url', home.endpoint.replace('127.0.0.1', 'localhost')]
    expect(await tool('update', mediaStore, '0s', ...config)).toContain('Synced 3 new rows')
    const uploaded = await tool('upload', mediaStore, home.bucket, '--delete', ...endpoint)
    expect(uploaded).toContain('Uploaded 3 files')
    expect(uploaded).toContain('Deleted 3 files')
    expect(await keys(home)).toHaveLength(3)
    const left = readdirSync(folder, { recursive: true }) as string[]
    expect(left.filter((path) => path.startsWith('media_store/local_content/'))).toEqual([])

    const after = await start(place, provider(home))
    for (const [i, id] of ids.entries()) {
      expect(old[i]!.equals((await after.download(id)) as Buffer)).toBe(true)
    }
  })

  test('an upload that finds the quota full is refused, and the next one is taken when there is room', async () => {
    const place = await site()
    const matrix = await start(place, provider(place.home))
    await store().setQuota(place.home, 10_000)
    const body = randomBytes(50_000)
    await expect(matrix.upload(body)).rejects.toThrow(/500/)
    await store().setQuota(place.home, null)
    const id = await matrix.upload(body)
    emptyLocalStore(place.folder)
    expect(await matrix.download(id)).toEqual(body)
  })

  test.runIf(nodes === 3)('works while a node is down', async () => {
    const place = await site()
    const matrix = await start(place, provider(place.home))
    const first = randomBytes(2 * 1024 * 1024)
    const id = await matrix.upload(first)
    await store().loseNode()
    const second = randomBytes(9 * 1024 * 1024)
    const secondId = await matrix.upload(second)
    emptyLocalStore(place.folder)
    expect(first.equals((await matrix.download(id)) as Buffer)).toBe(true)
    expect(second.equals((await matrix.download(secondId)) as Buffer)).toBe(true)
    await store().restoreNode()
  })
})
