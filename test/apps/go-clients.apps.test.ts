/**
 * Applications written in Go whose servers cannot be run here, by the libraries with which they speak to the store: Thanos
 * (and Loki, Mimir, Tempo, Cortex) and Velero.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { pasted } from './kit/page.js'
import { goBuild, installed } from './kit/programs.js'
import { attempt, must, scratch } from './kit/run.js'
import { application, type Home } from './kit/store.js'

const source = (name: string) => join(import.meta.dirname, 'go', name)
const OBJSTORE = ['github.com/thanos-io/objstore@v0.0.0-20250804093838-71d60dfee488']
const SDK = [
  'github.com/aws/aws-sdk-go-v2/config@latest',
  'github.com/aws/aws-sdk-go-v2/feature/s3/manager@latest',
  'github.com/aws/aws-sdk-go-v2/service/s3@latest',
]

const thanos = await installed(() => goBuild('thanos', source('thanos.go'), OBJSTORE))
const velero = await installed(() => goBuild('velero', source('velero.go'), SDK))

application("Thanos's object store library", thanos, ({ tools: program, nodes, store }) => {
  function configuration(home: Home): string {
    const file = join(scratch(), 'bucket.yml')
    writeFileSync(file, pasted('thanos.md', 'yaml', home))
    return file
  }

  test('passes its own acceptance test, and reads large objects by ranges', async () => {
    const said = await must(program, [configuration(await store().home('thanos'))])
    expect(said.match(/^--- PASS/gm)).toHaveLength(2)
  })

  test('a full quota is told', async () => {
    const home = await store().home('thanos')
    const file = configuration(home)
    await store().setQuota(home, 1000)
    const { code, stdout } = await attempt(program, [file])
    expect(code).not.toBe(0)
    expect(stdout).toMatch(/may hold 1000 bytes at most/)
  })

  test.runIf(nodes === 3)('works while a node is down', async () => {
    const file = configuration(await store().home('thanos'))
    await store().loseNode()
    expect((await must(program, [file])).match(/^--- PASS/gm)).toHaveLength(2)
    await store().restoreNode()
  })
})

application("the AWS SDK for Go as Velero's plugin uses it", velero, ({ tools: program, nodes, store }) => {
  const run = ({ endpoint, region, bucket, env }: Home, checksum: string) =>
    must(program, [endpoint, region, bucket, checksum], { env })

  test.each(['CRC32', 'SHA256', 'CRC64NVME', ''])(
    'stores, lists, fetches and deletes backups with the checksum "%s"',
    async (checksum) => {
      expect(await run(await store().home('velero'), checksum)).toBe('done\n')
    },
  )

  test.runIf(nodes === 3)('works while a node is down', async () => {
    const home = await store().home('velero')
    await store().loseNode()
    expect(await run(home, 'CRC32')).toBe('done\n')
    await store().restoreNode()
  })
})
