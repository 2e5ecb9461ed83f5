import { cpSync, rmSync } from 'node:fs'
import type { LifeNode } from '../life/kit/life-node.js'
import { CROWD } from './crowd.js'
import { DISK_SCENARIOS } from './disk-scenarios.js'
import { again, oneByOne, rest, type Scenario, whileKilled } from './scenario.js'
import type { Torture } from './torture.js'
import { UPGRADE } from './upgrade.js'

const all = ({ nodes }: Torture) => nodes
/** Jumps of a clock, ms. */
const JUMPS = [2000, 90_000, 3 * 86_400_000].flatMap((ms) => [ms, -ms])

const PROCESS_SCENARIOS: readonly Scenario[] = [
  {
    name: 'kill',
    what: 'kill -9 of one node after the other, in a loop',
    run: oneByOne((torture, node) => whileKilled(torture, [node], () => rest(torture.random.float() * 2))),
  },
  {
    name: 'kill-all',
    what: 'kill -9 of all nodes at the same moment, in a loop',
    run: again(all, (torture, nodes) => whileKilled(torture, nodes), 2),
  },
  {
    name: 'pause',
    what: 'a node stands still for up to 15 s (SIGSTOP), and goes on',
    run: oneByOne(async (torture, node, seconds) => {
      process.kill(node.process.pid, 'SIGSTOP')
      await rest(torture.random.float() * Math.min(15, seconds / 2))
      process.kill(node.process.pid, 'SIGCONT')
    }),
  },
  {
    name: 'restart',
    what: 'rolling restarts (SIGTERM)',
    async run(torture, seconds) {
      const endMs = performance.now() + seconds * 1000
      do {
        for (const node of torture.nodes) {
          await torture.harm([node], async () => {
            await node.stop()
            await torture.cluster.start(node)
          })
          await torture.cluster.linked()
        }
      } while (performance.now() < endMs)
    },
  },
  {
    name: 'cut',
    what: 'a node is cut off from the others: connections end, or bytes are lost',
    run: oneByOne(async (torture, node) => {
      const silently = torture.random.float() < 0.5
      for (const other of torture.nodes) {
        if (other !== node) torture.gates.cut(node.name, other.name, silently)
      }
      await rest(1 + torture.random.float() * 8)
      torture.gates.heal()
    }),
  },
  {
    name: 'one-way',
    what: 'what one node sends to another is lost, the answers are not; the path flaps',
    run: again(
      all,
      async (torture, nodes) => {
        const from = torture.draw()
        const others = nodes.filter((node) => node !== from)
        const to = others[Math.floor(torture.random.float() * others.length)]!
        for (let flaps = 0; flaps < 3; flaps++) {
          torture.gates.cutOneWay(from.name, to.name)
          await rest(0.2 + torture.random.float() * 3)
          torture.gates.heal()
          await rest(torture.random.float())
        }
      },
      1,
    ),
  },
  {
    name: 'blackout',
    what: 'all paths between all nodes are cut, and open again',
    run: again(
      all,
      async (torture, nodes) => {
        const silently = torture.random.float() < 0.5
        for (const [i, one] of nodes.entries()) {
          for (const other of nodes.slice(i + 1)) torture.gates.cut(one.name, other.name, silently)
        }
        await rest(1 + torture.random.float() * 5)
        torture.gates.heal()
      },
      2,
    ),
  },
  {
    name: 'clocks',
    what: 'the clock of a node jumps by seconds, minutes and days',
    run: oneByOne(async (torture, node) => {
      torture.setClock(node, JUMPS[Math.floor(torture.random.float() * JUMPS.length)]!)
      await rest(1 + torture.random.float() * 6)
      torture.setClock(node, 0)
    }),
  },
  {
    name: 'layout',
    what: 'a node is added and another removed while a third is killed',
    async run(torture, seconds) {
      const { cluster } = torture
      const [a, b, c] = torture.nodes as [LifeNode, LifeNode, LifeNode]
      const d = await torture.addNode('d', 'z4')
      torture.load.setHarmed(c.name, true)
      await cluster.layOut(a, { assign: [d] })
      await killed(torture, b)
      await cluster.settled()
      torture.addClients(d)
      await cluster.layOut(d, { remove: [c] })
      await killed(torture, d)
      await cluster.settled()
      await cluster.safeToStop(c)
      await cluster.layOut(a, { assign: [c], remove: [b] })
      await rest(seconds / 4)
      await cluster.settled()
      await cluster.layOut(a, { assign: [b] })
      await cluster.settled()
      torture.load.setHarmed(c.name, false)
    },
  },
  {
    name: 'wiped',
    what: 'a node loses database and blocks, and comes back with its key alone',
    async run(torture) {
      for (const node of torture.nodes) {
        await torture.harm([node], async () => {
          await whileKilled(torture, [node], () => {
            rmSync(node.folder('data'), { recursive: true })
            cpSync(node.folder('meta/node_key.pem'), node.folder('key'))
            rmSync(node.folder('meta'), { recursive: true })
            node.restoreKey(node.folder('key'))
          })
          await node.hurry()
        })
        // Of three copies one may be lost at a time: the next one waits until this one is whole.
        await torture.cluster.settled()
      }
    },
  },
  {
    name: 'away',
    what: 'a node is away for longer than deletions and blocks without references are kept',
    graceSeconds: 8,
    run: oneByOne((torture, node) => whileKilled(torture, [node], () => rest(20)), 10),
  },
  {
    name: 'old',
    what: 'a database is put back to a copy of some time before',
    async run(torture, seconds) {
      const node = torture.draw()
      await torture.harm([node], async () => {
        await node.stop()
        cpSync(node.folder('meta'), node.folder('meta-old'), { recursive: true })
        await torture.cluster.start(node)
      })
      await rest(seconds / 2)
      await torture.harm([node], () =>
        whileKilled(torture, [node], () => {
          rmSync(node.folder('meta'), { recursive: true })
          cpSync(node.folder('meta-old'), node.folder('meta'), { recursive: true })
        }),
      )
      await torture.cluster.settled()
      await rest(seconds / 4)
    },
  },
  {
    name: 'soak',
    what: 'nothing at all: memory, descriptors and times stay as they are',
    run: (_torture, seconds) => rest(seconds),
  },
]

export const SCENARIOS: readonly Scenario[] = [...PROCESS_SCENARIOS, ...DISK_SCENARIOS, CROWD, UPGRADE]

function killed(torture: Torture, node: LifeNode): Promise<void> {
  return torture.harm([node], () => whileKilled(torture, [node]))
}
