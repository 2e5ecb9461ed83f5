import type { LifeNode } from '../life/kit/life-node.js'
import { EarlierRelease, hasK2v, k2vClient } from './earlier.js'
import { rest, type Scenario, whileKilled } from './scenario.js'
import { Stock } from './stock.js'
import type { Torture } from './torture.js'

const K2V_ITEMS = 20
/** How long a node may take to be in sync beside others of the earlier release, ms. */
const SYNC_MS = 60_000

export const UPGRADE: Scenario = {
  name: 'upgrade',
  what: 'nodes of an earlier release go over to today’s, one after the other (--earlier DIR)',
  missing: EarlierRelease.missing,
  startsEarlier: true,
  async run(torture, seconds) {
    const { cluster, load } = torture
    const order = torture.shuffled()
    const [first, second, third] = order as [LifeNode, LifeNode, LifeNode]
    for (const { name } of order) load.setRelease(name, 'of the earlier release')
    const hadK2v = await hasK2v(first, torture.credentials)
    if (hadK2v) await writeK2v(torture, first, 'before')
    else torture.notes.push('the earlier release has no K2V: no items were written before')
    const stocks = [await Stock.write(torture, 'before', first, order)]
    await rest(seconds / 4)

    await upgrade(torture, first, 'SIGTERM')
    await cluster.settled(SYNC_MS, [first])
    await check(torture, stocks.slice(0, 1), order, 'with one node of today')
    // Nodes of today need a majority of their own to give names. What they encrypt, an earlier one need not be able to read.
    stocks.push(await Stock.write(torture, 'by-new', first, [first], second))
    await rest(seconds / 8)

    await upgrade(torture, second, 'SIGKILL')
    await cluster.settled(SYNC_MS, [first, second])
    stocks.push(await Stock.write(torture, 'by-old', third, order))
    stocks.push(await Stock.write(torture, 'by-majority', second, [first, second]))
    await check(torture, stocks.slice(0, 1), [third], 'with two nodes of today')
    await check(torture, stocks.slice(0, 2), [first, second], 'with two nodes of today')
    await rest(seconds / 8)

    await upgrade(torture, third, torture.random.float() < 0.5 ? 'SIGTERM' : 'SIGKILL')
    await cluster.settled()
    load.isConditional = true
    await check(torture, stocks, order, 'with all nodes of today')
    if (hadK2v) await checkK2v(torture, 'before')
    await writeK2v(torture, third, 'after')
    await checkK2v(torture, 'after')
    await rest(seconds / 4)

    await torture.harm(order, () => whileKilled(torture, order))
    await cluster.settled()
    for (const node of order) await cluster.cli(node, 'worker', 'set', 'scrub-tranquility', '0')
    await cluster.cli(first, 'repair', '--yes', '-a', 'scrub', 'start')
    for (const stock of stocks) await stock.change(second, order)
    await check(torture, stocks, order, 'after a restart')
    for (const items of hadK2v ? ['before', 'after'] : ['after']) await checkK2v(torture, items)
    await rest(seconds / 4)
  },
}

async function upgrade(torture: Torture, node: LifeNode, signal: NodeJS.Signals): Promise<void> {
  await torture.harm([node], async () => {
    await node.stop(signal)
    delete node.settings.program
    await rest(torture.random.float() * 2)
    await torture.cluster.start(node)
    torture.load.setRelease(node.name, 'of today')
  })
  await node.hurry()
}

/** Lets all nodes at once tell what was written. */
async function check(
  torture: Torture,
  stocks: readonly Stock[],
  nodes: readonly LifeNode[],
  when: string,
): Promise<void> {
  // A replica of the first release counts a version twice that became current again, and the fullest count is told.
  const isCounted = torture.nodes.every(({ settings }) => !settings.program)
  await Promise.all(
    nodes.map(async (node) => {
      for (const stock of stocks) {
        await stock.check(node, when)
        if (!node.settings.program) await stock.checkBuckets(node, when, isCounted)
      }
    }),
  )
}

const itemValue = (items: string, i: number) => `${items} ${i} `.repeat(1 + i * 50)

async function writeK2v(torture: Torture, node: LifeNode, items: string): Promise<void> {
  const k2v = k2vClient(node, torture.credentials)
  for (let i = 0; i < K2V_ITEMS; i++) {
    await k2v.request('PUT', `/torture/${items}`, {
      query: `sort_key=${i}`,
      body: Buffer.from(itemValue(items, i)),
    })
  }
  k2v.close()
}

async function checkK2v(torture: Torture, items: string): Promise<void> {
  for (const node of torture.nodes) {
    const k2v = k2vClient(node, torture.credentials)
    for (let i = 0; i < K2V_ITEMS; i++) {
      const headers = { accept: 'application/octet-stream' }
      const { text } = await k2v.request('GET', `/torture/${items}`, {
        query: `sort_key=${i}`,
        headers,
        text: true,
      })
      if (text !== itemValue(items, i)) {
        torture.load.violations.push(`${node.name} has of item ${i} of "${items}" ${text.slice(0, 60)}`)
      }
    }
    k2v.close()
  }
}
