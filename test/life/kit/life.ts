import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { BusyClient, type Tally } from './busy-client.js'
import { LifeCluster } from './life-cluster.js'

/** A step of the run: what was done, and how the client fared meanwhile. */
export interface StepReport extends Tally {
  step: string
  seconds: number
}

/** A cluster with a client that keeps reading and writing, and a report of each step of its life. */
export class Life {
  readonly steps: StepReport[] = []

  private constructor(
    readonly cluster: LifeCluster,
    readonly client: BusyClient,
  ) {}

  /** Starts three nodes in zones z1 to z3, named a, b and c, and the client. */
  static async begin(): Promise<Life> {
    const cluster = await LifeCluster.create(3)
    try {
      const a = await cluster.addNode('a', 'z1')
      const others = await Promise.all([cluster.addNode('b', 'z2'), cluster.addNode('c', 'z3')])
      await cluster.layOut(a, { assign: [a, ...others] })
      await cluster.settled()
      const credentials = await cluster.createKey()
      const s3 = new S3Client({ endpoint: a.endpoint, region: 'garage', forcePathStyle: true, credentials })
      await s3.send(new CreateBucketCommand({ Bucket: BusyClient.bucket }))
      s3.destroy()
      const client = new BusyClient(cluster.balancer.endpoint, credentials)
      const life = new Life(cluster, client)
      client.start()
      return life
    } catch (error) {
      await cluster.dispose()
      throw error
    }
  }

  /** Runs a step while the client is busy, and notes how it fared. */
  async step(name: string, run: () => Promise<void>): Promise<StepReport> {
    this.client.take()
    const startMs = performance.now()
    const end = () => {
      const report = { step: name, seconds: (performance.now() - startMs) / 1000, ...this.client.take() }
      this.steps.push(report)
      return report
    }
    await run().catch((error: unknown) => {
      end()
      throw error
    })
    const report = end()
    if (process.env.CARPORT_LIFE_LOG) {
      console.log(
        `${name}: ${JSON.stringify({ ...report, failures: report.failures.slice(0, 20) }, null, 1)}`,
      )
    }
    return report
  }

  /** Stops the client and reads every object through every node that runs. */
  async verify(): Promise<{ verified: number; wrong: string[] }> {
    await this.client.stop()
    const wrong: string[] = []
    let verified = 0
    for (const { name, endpoint } of this.cluster.running()) {
      const result = await this.client.verify(endpoint)
      verified += result.verified
      wrong.push(...result.wrong.map((text) => `${name}: ${text}`))
    }
    return { verified, wrong }
  }

  /** The report as a table. */
  table(): string {
    const header = ['Step', 'Seconds', 'Requests', 'Retries', 'Failures', 'Longest time without success']
    const rows = this.steps.map(({ step, seconds, requests, retries, failures, longestGapMs }) => [
      step,
      seconds.toFixed(0),
      String(requests),
      String(retries),
      String(failures.length),
      `${(longestGapMs / 1000).toFixed(2)} s`,
    ])
    const widths = header.map((_, i) => Math.max(...[header, ...rows].map((row) => row[i]!.length)))
    const line = (row: string[]) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ')
    return [header, ...rows].map(line).join('\n')
  }

  async end(): Promise<void> {
    await this.client.stop()
    this.client.destroy()
    await this.cluster.dispose()
  }
}
