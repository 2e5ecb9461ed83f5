/**
 * Nextcloud's primary storage, by the calls that it makes of the AWS SDK for PHP. No registry here has Nextcloud or that SDK:
 * `NEXTCLOUD_3RDPARTY` names the folder `3rdparty` of an unpacked Nextcloud.
 */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { fromApt, installed, packageOfApt } from './kit/programs.js'
import { attempt, must } from './kit/run.js'
import { application, type Home } from './kit/store.js'

const nextcloud = await installed(async () => {
  const thirdParty = process.env.NEXTCLOUD_3RDPARTY
  if (!thirdParty) throw new Error('NEXTCLOUD_3RDPARTY does not name the folder 3rdparty of a Nextcloud')
  const php = await fromApt('php', 'php-cli')
  for (const extension of ['php-curl', 'php-xml', 'php-mbstring']) await packageOfApt(extension)
  return { php, thirdParty }
})

application("Nextcloud's primary storage", nextcloud, ({ tools, nodes, store }) => {
  const args = ({ endpoint, region, bucket }: Home) => [
    ...['-d', 'memory_limit=1G', join(import.meta.dirname, 'php/nextcloud.php')],
    ...[tools.thirdParty, endpoint, region, bucket],
  ]

  test('stores, copies, uploads in chunks, fetches and deletes', async () => {
    const home = await store().home('nextcloud')
    expect(await must(tools.php, args(home), { env: home.env })).toBe('done\n')
  })

  test('a full quota is told', async () => {
    const home = await store().home('nextcloud')
    await store().setQuota(home, 1_000_000)
    const failed = await attempt(tools.php, args(home), { env: home.env })
    expect(failed.code).not.toBe(0)
    expect(failed.stdout + failed.stderr).toMatch(/QuotaExceeded/)
  })

  test.runIf(nodes === 3)('works while a node is down', async () => {
    const home = await store().home('nextcloud')
    await store().loseNode()
    expect(await must(tools.php, args(home), { env: home.env })).toBe('done\n')
    await store().restoreNode()
  })
})
