import fc from 'fast-check'
import type { FuzzRequest, Signer } from '../support/fuzz-client.js'
import { formRequest, fuzzForm, fuzzSts } from '../support/fuzz-forms.js'
import { BUCKETS, fuzzRequest, PRELUDE } from '../support/fuzz-requests.js'
import { FuzzRunner } from '../support/fuzz-runner.js'
import type { FuzzCluster } from './fuzz-cluster.js'
import { asError, type PortFuzzer, UnexpectedAnswer } from './port-fuzzer.js'

const request = (method: string, target: string, body = ''): FuzzRequest => ({
  ...{ method, target, headers: [], body, auth: 'header', length: 'right' },
})
const SETTINGS = [
  'policy',
  'ownershipControls',
  'publicAccessBlock',
  'encryption',
  'cors',
  'lifecycle',
  'website',
]
const VERSIONING = '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>'

/** A request of a sequence. */
export const s3Step = fc.oneof(
  { weight: 20, arbitrary: fuzzRequest },
  { weight: 2, arbitrary: fuzzForm },
  { weight: 1, arbitrary: fuzzSts },
)
type Step = typeof s3Step extends fc.Arbitrary<infer S> ? S : never

/** The S3 API: sequences of requests to buckets that each sequence finds in the same state. */
export class S3Fuzzer implements PortFuzzer {
  readonly name = 's3'
  readonly #sequence = fc.array(s3Step, { minLength: 1, maxLength: 24, size: 'max' })
  #seed = 0

  private constructor(
    private readonly cluster: FuzzCluster,
    readonly runner: FuzzRunner,
    readonly key: Signer,
  ) {}

  static async create(cluster: FuzzCluster): Promise<S3Fuzzer> {
    const makeKey = async (name: string): Promise<Signer> => {
      const made = await cluster.first.admin<{ accessKeyId: string; secretAccessKey: string }>(
        'POST',
        '/v2/CreateKey',
        { name, allow: { createBucket: true } },
      )
      return { keyId: made.accessKeyId, secret: made.secretAccessKey }
    }
    const [key, other] = [await makeKey('fuzz'), await makeKey('other')]
    const errors = () => cluster.nodes.flatMap((node) => node.errors)
    const ports = cluster.nodes.map((node) => node.ports.s3)
    const runner = new FuzzRunner(ports, key, other, errors)
    for (const name of Object.values(BUCKETS)) runner.changed.add(name)
    return new S3Fuzzer(cluster, runner, key)
  }

  async *run(seed: number): AsyncGenerator<number> {
    this.#seed = seed
    for (const steps of fc.sample(this.#sequence, { seed, numRuns: 20 })) yield* this.sequence(steps)
  }

  /** Sends a sequence; tells the status of each answer. @throws UnexpectedAnswer */
  async *sequence(steps: readonly Step[]): AsyncGenerator<number> {
    await this.#prepare()
    for (const one of PRELUDE) {
      const { status } = await this.runner.run(one)
      if (status !== 200) throw new UnexpectedAnswer(`status ${status} for ${one.method} ${one.target}`, one)
    }
    for (const one of steps) {
      const sent = 'fields' in one ? formRequest(one, this.key, Date.now()) : one
      try {
        yield (await this.runner.run(sent)).status ?? 0
      } catch (error) {
        throw new UnexpectedAnswer(asError(error).message, sent, this.#seed)
      }
    }
  }

  async #prepare(): Promise<void> {
    for (const name of this.runner.changed) await this.#reset(name)
    this.runner.changed.clear()
    this.runner.reset()
  }

  /** Makes a bucket, or takes what sequences have set from it. */
  async #reset(name: string): Promise<void> {
    const send = (method: string, query: string, headers: [string, string][] = [], body = '') =>
      this.runner.run({ ...request(method, `/${name}${query}`, body), headers })
    if (name === 'fuzz-new') return void (await send('DELETE', ''))
    if (!(Object.values(BUCKETS) as string[]).includes(name)) return
    for (let attempt = 0; attempt < 2; attempt++) {
      const isLocked = name === BUCKETS.locked
      await send('PUT', '', isLocked ? [['x-amz-bucket-object-lock-enabled', 'true']] : [])
      const answers: number[] = []
      for (const setting of SETTINGS) answers.push((await send('DELETE', `?${setting}`)).status ?? 0)
      answers.push((await send('PUT', '?acl', [['x-amz-acl', 'private']])).status ?? 0)
      if (isLocked || name === BUCKETS.versioned) {
        answers.push((await send('PUT', '?versioning', [], VERSIONING)).status ?? 0)
      }
      if (answers.every((status) => status < 300)) return
      // A policy may shut out everybody: the bucket loses its name to a new one.
      await this.#giveUp(name)
    }
    throw new UnexpectedAnswer(`bucket ${name} cannot be reset`, request('PUT', `/${name}`))
  }

  async #giveUp(name: string): Promise<void> {
    const { id } = await this.cluster.first.admin<{ id: string }>(
      'GET',
      `/v2/GetBucketInfo?globalAlias=${name}`,
    )
    await this.cluster.first.admin('POST', '/v2/RemoveBucketAlias', { bucketId: id, globalAlias: name })
  }
}
