/** The container registry (distribution), with images pushed and pulled by skopeo. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { expect, onTestFinished, test } from 'vitest'
import { freePorts, ServerProcess } from '../../bench/stores/server-process.js'
import { pasted } from './kit/page.js'
import { fromApt, fromDeb, goInstall, installed } from './kit/programs.js'
import { attempt, digests, fillFolder, must, scratch } from './kit/run.js'
import { application } from './kit/store.js'

const DISTRIBUTION = 'github.com/distribution/distribution/v3/cmd/registry@v3.1.2'
const clients = async () => ({ skopeo: await fromApt('skopeo'), umoci: await fromDeb('umoci') })
const registries = {
  'registry 2 (Debian)': await installed(async () => ({
    ...(await clients()),
    registry: await fromDeb('docker-registry'),
  })),
  'registry 3': await installed(async () => ({
    ...(await clients()),
    registry: process.env.REGISTRY ?? (await goInstall('registry', DISTRIBUTION)),
  })),
}

for (const [name, programs] of Object.entries(registries)) {
  application(name, programs, ({ tools, nodes, store }) => {
    /** A registry whose key may read and write, and no more; and an image to push. */
    async function start() {
      const home = await store().home('registry')
      const folder = scratch()
      const [port] = (await freePorts(1)) as [number]
      const config = join(folder, 'config.yml')
      writeFileSync(config, pasted('registry.md', 'yaml', home, { '127.0.0.1:5000': `127.0.0.1:${port}` }))
      const server = new ServerProcess(
        [tools.registry, 'serve', config],
        { OTEL_TRACES_EXPORTER: 'none' },
        join(folder, 'log'),
      )
      server.start()
      onTestFinished(() => server.stop('SIGKILL'))
      await server.untilAnswering(`http://127.0.0.1:${port}/v2/`)
      const remote = (tag: string) => `docker://127.0.0.1:${port}/team/app:${tag}`
      const env = { HOME: folder, XDG_RUNTIME_DIR: folder }
      const skopeo = (...args: string[]) => attempt(tools.skopeo, ['--insecure-policy', ...args], { env })
      const push = (image: string, tag: string) =>
        skopeo('copy', '--dest-tls-verify=false', `oci:${image}`, remote(tag))
      const pull = async (tag: string) => {
        const image = join(folder, `pulled-${tag}:${tag}`)
        const pulled = await skopeo('copy', '--src-tls-verify=false', remote(tag), `oci:${image}`)
        expect(pulled.stderr).toBe('')
        return image
      }
      return { home, folder, config, push, pull, skopeo, remote }
    }

    /** Makes an image with one layer of files. */
    async function image(folder: string, tag: string, largeBytes: number) {
      const layout = join(folder, `layout-${tag}`)
      const files = join(folder, `files-${tag}`)
      mkdirSync(files)
      fillFolder(files, { small: 10, largeBytes })
      await must(tools.umoci, ['init', '--layout', layout])
      await must(tools.umoci, ['new', '--image', `${layout}:${tag}`])
      await must(tools.umoci, ['insert', '--image', `${layout}:${tag}`, files, '/app'])
      return { image: `${layout}:${tag}`, files }
    }

    async function contents(folder: string, pulled: string): Promise<Record<string, string>> {
      const bundle = join(folder, `bundle-${Date.now()}`)
      await must(tools.umoci, ['raw', 'unpack', '--image', pulled, bundle])
      return digests(join(bundle, 'app'))
    }

    test('images are pushed, pulled and deleted, and garbage is collected', async () => {
      const { home, folder, config, push, pull, skopeo, remote } = await start()
      const made = await image(folder, 'one', 40 * 1024 * 1024)
      expect(await push(made.image, 'one')).toMatchObject({ code: 0 })
      expect(await push(made.image, 'same')).toMatchObject({ code: 0 })
      expect(await contents(folder, await pull('one'))).toEqual(digests(made.files))
      expect(
        (await skopeo('list-tags', '--tls-verify=false', remote('one').replace(/:one$/, ''))).stdout,
      ).toMatch(/"one",\s+"same"/)
      expect((await skopeo('delete', '--tls-verify=false', remote('one'))).code).toBe(0)
      await must(tools.registry, ['garbage-collect', '-m', config])
      const { Contents } = await home.s3.send(new ListObjectsV2Command({ Bucket: home.bucket }))
      expect(Contents?.filter(({ Size }) => Size! > 1_000_000) ?? []).toEqual([])
      const { Uploads } = await home.s3.send(new ListMultipartUploadsCommand({ Bucket: home.bucket }))
      expect(Uploads ?? []).toEqual([])
    })

    test('a full quota refuses the push, and takes it when there is room', async () => {
      const { home, folder, push, pull } = await start()
      await store().setQuota(home, 4 * 1024 * 1024)
      const made = await image(folder, 'big', 12 * 1024 * 1024)
      expect((await push(made.image, 'big')).code).not.toBe(0)
      await store().setQuota(home, null)
      expect(await push(made.image, 'big')).toMatchObject({ code: 0 })
      expect(await contents(folder, await pull('big'))).toEqual(digests(made.files))
    })

    test.runIf(nodes === 3)('works while a node is down', async () => {
      const { folder, push, pull } = await start()
      const made = await image(folder, 'alone', 12 * 1024 * 1024)
      await store().loseNode()
      expect(await push(made.image, 'alone')).toMatchObject({ code: 0 })
      expect(await contents(folder, await pull('alone'))).toEqual(digests(made.files))
      await store().restoreNode()
      expect(await contents(folder, await pull('alone'))).toEqual(digests(made.files))
    })
  })
}
