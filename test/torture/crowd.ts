import { join } from 'node:path'
import { CrowdOfClients } from '../../bench/load/crowd.js'
import { oneByOne, type Scenario } from './scenario.js'

const BUCKET = 'crowd'
const WORKERS = join(import.meta.dirname, '../../dist/bench/load')
const PROCESSES = 2
const REQUESTS_MAX = 64
/** More than ten times the requests that a node takes at the same time. */
const CONNECTIONS = 1000
const CROWD_SECONDS = 5
const OBJECT_BYTES = 4096

/** Many more clients than a node can serve. What they write is not looked at: the others' history tells whether the node kept its promises. */
export const CROWD: Scenario = {
  name: 'crowd',
  what: `${CONNECTIONS} clients at a time come to a node that takes ${REQUESTS_MAX} requests, and leave again`,
  settings: `max_requests = ${REQUESTS_MAX}\n`,
  async run(torture, seconds) {
    const crowd = new CrowdOfClients(PROCESSES, WORKERS)
    let first = 0
    try {
      await torture.makeBucket(BUCKET)
      const come = oneByOne(async (_, node) => {
        first += 1e6
        const { good, refused, failed, broken } = await crowd.run({
          target: torture.targetOf(node),
          ...{ bucket: BUCKET, kind: 'put', prefix: 'of-the-crowd-', keys: 0, bytes: OBJECT_BYTES, first },
          ...{ connections: CONNECTIONS, retry: 'backoff', warmSeconds: 0, seconds: CROWD_SECONDS },
        })
        const { violations } = torture.load
        if (failed > 0) violations.push(`${failed} of the crowd at ${node.name} got neither 200 nor 503`)
        if (good === 0) violations.push(`${node.name} served none of the crowd`)
        if (refused === 0) violations.push(`${node.name} refused none of ${CONNECTIONS} clients`)
        torture.notes.push(
          `${node.name} served ${(good / CROWD_SECONDS).toFixed()} a second of the crowd, refused ${(refused / CROWD_SECONDS).toFixed()}; ${broken} connections broke`,
        )
      }, 5)
      await come(torture, seconds)
    } finally {
      crowd.stop()
    }
  },
}
