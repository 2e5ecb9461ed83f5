import { statfs } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { serveAdmin } from '../api/admin/serve.js'
import { admissionLimits, LimitedAdmission } from '../api/http/admission.js'
import { TrustedProxies } from '../api/http/trusted-proxies.js'
import { zstdCompression } from '../block/compression.js'
import { DataDirs } from '../block/data-dirs.js'
import { GRACES } from '../block/rc.js'
import { tryParseAddress } from '../cluster/address.js'
import type { DiskSpace } from '../cluster/node-status.js'
import type { Config } from '../config/config.js'
import type { Db } from '../db/db.js'
import { openLmdb } from '../db/lmdb.js'
import { shortCalendar, UTC_CALENDAR } from '../model/lifecycle/rules.js'
import type { LifecycleOptions } from '../model/lifecycle/worker.js'
import type { NodeIdentity } from '../net/identity.js'
import { TlsTransport } from '../net/tls-transport.js'
import { type AccessLog, openAccessLog } from '../platform/access-log.js'
import { eventTargets } from '../platform/event-targets.js'
import { HashPool } from '../platform/hash-pool.js'
import type { Listening } from '../platform/listen.js'
import { machineLimits } from '../platform/machine-limits.js'
import { NodeDisk } from '../platform/node-disk.js'
import { streamCall } from '../platform/stream-call.js'
import { BufferPools } from '../util/buffer-pools.js'
import { type Clock, Hlc, PeerTime } from '../util/clock.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import type { Worker, WorkerEnv } from '../util/worker.js'
import { nodeFacts, serveAdminApi } from './admin-api.js'
import { ALL_TREES, Core } from './core.js'
import { DataFolders } from './data-folders.js'
import { machineAccess } from './machine.js'
import { MetadataSnapshots } from './metadata-snapshot.js'
import type { Metrics } from './metrics/metrics.js'
import { outgoingHost, publicAddress } from './own-address.js'
import { serveK2v } from './serve-k2v.js'
import { SHADOW_IDLE_MS, serveS3 } from './serve-s3.js'
import { serveWeb } from './serve-web.js'
import type { NodeTracing } from './tracing/start.js'

/** Free space that writes leave on a data disk, in bytes: for deletions, which need some, and for the rest of the machine. */
const RESERVE_BYTES = 256 * 1024 * 1024
/** Room in a block's buffer for the head of its file, in bytes. */
const BLOCK_FILE_OVERHEAD_BYTES = 4096
/** Buffers of whole blocks that were read, kept for the next ones. */
const BLOCK_BUFFERS_KEPT = 16

export interface NodeDeps {
  clock: Clock
  random: Random
  log: Log
  /** How the request log looks where it shares stderr with the log (default JSON). */
  logFormat?: 'text' | 'json'
  identity: NodeIdentity
  version: string
  /** Threads for hashing large bodies; 0 hashes on the main thread. */
  hashThreads: number
  /** Is told that the database cannot be relied on any more: the process has to end, see LmdbOptions. */
  onBroken?: (cause: unknown) => void
  /** Runs when the cluster's side is up, before the first request can come. */
  beforeServing?: (core: Core) => Promise<void>
  /** How long an S3 client may neither send nor read while it is waited for, in ms (default 60 s). */
  clientIdleMs?: number
}

/** A running node. */
export interface CarportNode {
  core: Core
  db: Db
  transport: TlsTransport
  /** Where the S3 API listens; undefined if the configuration says that it does not. */
  s3: Listening | undefined
  /** Where the admin API listens; undefined if the configuration says that it does not. */
  adminApi: Listening | undefined
  /** Where the console is served, which may be the admin API's address; undefined if it is not. */
  console: Listening | undefined
  /** Where sites are served; undefined if the configuration says that they are not. */
  web: Listening | undefined
  /** Where the K2V API listens; undefined if the configuration says that it does not. */
  k2v: Listening | undefined
  rpc: { host: string; port: number }
  /** Opens log files anew, after something has moved them away. */
  reopenLogs(): void
  /** Lets requests end, then stops everything. Idempotent. */
  stop(): Promise<void>
}

/**
 * Builds a node from its configuration and starts it: after this, requests are served.
 * @throws CarportError with a message for the operator when an address or a folder cannot be had
 */
export async function startNode(config: Config, deps: NodeDeps): Promise<CarportNode> {
  const { clock, random, log, identity } = deps
  const hlc = new Hlc(clock, new PeerTime(clock, config.maxClockDriftMs))
  const db = await openLmdb({
    path: join(config.metadataDir, 'db'),
    trees: ALL_TREES,
    fsync: config.metadataFsync,
    mapSizeBytes: config.lmdbMapSizeBytes,
    clock,
    log,
    ...(deps.onBroken && { onBroken: deps.onBroken }),
  })
  const announced = publicAddress(config.rpc)
  if (announced === undefined && config.rpc.publicAddrSubnet !== null) {
    const { publicAddrSubnet: subnet } = config.rpc
    log.warn({ subnet }, 'this machine has no address in rpc_public_addr_subnet: none is announced')
  }
  const localHost = outgoingHost(config.rpc)
  const transport = new TlsTransport({
    ...(localHost !== undefined && { outgoingHost: localHost }),
    ...(config.rpc.pingTimeoutMs !== null && { pingTimeoutMs: config.rpc.pingTimeoutMs }),
    identity,
    rpcSecret: Buffer.from(config.secrets.rpcSecret, 'hex'),
    listen: config.rpc.bindAddr,
    clock,
    random,
    hlc,
    log,
  })
  const blockMemory = new BufferPools(config.blockSizeBytes + BLOCK_FILE_OVERHEAD_BYTES, BLOCK_BUFFERS_KEPT)
  const metrics =
    config.admin.bindAddr || config.console.bindAddr
      ? new (await import('./metrics/metrics.js')).Metrics(clock)
      : undefined
  const disk = new NodeDisk(blockMemory)
  const tracing = await traces(config, deps)
  tracing?.database(db)
  const measured = {
    transport: metrics?.measureTransport(transport) ?? transport,
    disk: metrics?.measureDisk(disk) ?? disk,
  }
  const hashing = new HashPool(clock, deps.hashThreads, config.blockSizeBytes)
  const folders = new DataFolders(
    config.dataDirs.filter((dir) => !dir.readOnly).map((dir) => dir.path.replace(/\/+$/, '')),
    { db, disk, random, log },
  )
  const core: Core = new Core(
    {
      ...{ clock, hlc, random, log, db, hashing },
      transport: tracing?.transport(measured.transport) ?? measured.transport,
      dialer: transport,
      disk: tracing?.disk(measured.disk) ?? measured.disk,
      ...(tracing && { classes: tracing.classes() }),
      recycle: (block) => blockMemory.give(block),
      dirs: dataDirsOf(config),
      compression: zstdCompression(config.compressionLevel ?? 'none'),
      diskSpace: async () => {
        await folders.check()
        return {
          metadata: await spaceOf([config.metadataDir]),
          data: await spaceOf(config.dataDirs.map((dir) => dir.path)),
          lostFolders: folders.lost().length + core.blocks.local.store.failing().length,
        }
      },
    },
    {
      replicationFactor: config.replicationFactor,
      consistencyMode: config.consistencyMode,
      bootstrapPeers: config.rpc.bootstrapPeers.map(({ id, host, port }) => ({
        id,
        address: { host, port },
      })),
      hostname: hostname(),
      version: deps.version,
      ...(announced !== undefined && { publicAddress: announced }),
      ...(config.rpc.timeoutMs !== null && { callTimeoutMs: config.rpc.timeoutMs }),
      rpcPort: config.rpc.bindAddr.port,
      blockBytes: config.blockSizeBytes,
      inlineBytesMax: config.inlineBytesMax,
      allowPunycode: config.allowPunycode,
      blocksInFlight: config.blockMaxConcurrentWritesPerRequest,
      requestMemoryBytes: config.requestMemoryBytes,
      lifecycle: lifecycleOf(config),
      ...gracesOf(config),
      events: {
        targets: eventTargets(config.secrets.notifications),
        region: config.s3Api.region,
        hostId: identity.nodeId.slice(0, 16),
      },
      blocks: {
        fsync: config.dataFsync,
        reserveBytes: RESERVE_BYTES,
        memoryBytes: config.blockRamBufferMaxBytes,
        readsMax: config.blockMaxConcurrentReads,
        isWritable: (folder) => folders.isWritable(folder),
        onFailing: folders.tellFailing,
      },
      scrub: !config.disableScrub,
    },
  )
  const snapshots = new MetadataSnapshots(db, config.metadataSnapshotsDir, clock, () =>
    core.cluster.layout.age.raise(),
  )
  const admin = serveAdmin(transport, {
    ...{ clock, random, log, db, cluster: core.cluster, tables: core.tables, blockRefs: core.blockRefs },
    ...{ blocks: core.blocks, model: core.model, catchUp: core.catchUp },
    ...{ replicationFactor: config.replicationFactor, consistencyMode: config.consistencyMode },
    machine: machineAccess(config, { clock, random, folders, metrics }),
    scrubs: !config.disableScrub,
    api: nodeFacts(config),
    shadowCall: streamCall(SHADOW_IDLE_MS),
    snapshot: () => snapshots.write(),
  })
  metrics?.observe(core, config, deps.version)
  const accessLog = watchRequests(
    await openAccessLog(config.accessLog, log, clock, deps.logFormat),
    metrics,
    tracing,
  )
  const stops: (() => Promise<void>)[] = [
    () => accessLog.close(),
    async () => metrics?.stop(),
    async () => tracing?.stop(),
    () => db.close(),
    () => hashing.stop(),
    () => transport.close(),
  ]
  const stopAll = async () => {
    for (const stop of stops.splice(0).reverse()) await stop()
  }
  try {
    const rpc = await transport.listen()
    await core.start()
    stops.push(
      () => core.stop(),
      () => admin.stop(),
    )
    if (config.consul || config.kubernetes) {
      const workers = await startDiscovery(config, core, { clock, random, log }, announced)
      stops.push(async () => void (await Promise.all(workers.map((worker) => worker.stop()))))
    }
    const automaticSnapshots = snapshots.every(config.metadataAutoSnapshotIntervalMs, random, log)
    stops.push(async () => automaticSnapshots.cancel())
    await deps.beforeServing?.(core)
    const admission = new LimitedAdmission(admissionLimits(config, machineLimits()), clock, log)
    const served = { ...deps, accessLog, admission }
    const s3 = await serveS3(config, core, served)
    if (s3) stops.push(() => s3.serving.stop())
    const adminOptions = {
      ...{ clock, random, log },
      trustedProxies: new TrustedProxies(config.trustedProxies),
      ...accessLog.of('admin'),
    }
    const { adminApi, console } = await serveAdminApi(
      config,
      core,
      { admin, metrics, s3, version: deps.version },
      adminOptions,
      (serving) => stops.push(() => serving.stop()),
    )
    const web = await serveWeb(config, core, served)
    if (web) stops.push(() => web.stop())
    const k2v = await serveK2v(config, core, served)
    if (k2v) stops.push(() => k2v.stop())
    let stopping: Promise<void> | undefined
    return {
      core,
      db,
      transport,
      s3: s3?.serving.listening,
      adminApi: adminApi?.listening,
      console: console?.listening,
      web: web?.listening,
      k2v: k2v?.listening,
      rpc,
      reopenLogs: () => accessLog.reopen(),
      stop: () => {
        stopping ??= stopAll()
        return stopping
      },
    }
  } catch (error) {
    await stopAll()
    throw error
  }
}

/** The access log, telling metrics and traces of each request as well. */
function watchRequests(
  log: AccessLog,
  metrics: Metrics | undefined,
  tracing: NodeTracing | undefined,
): AccessLog {
  const counted: AccessLog['of'] = (api) => {
    const { onRequest, onlyFailed } = log.of(api)
    if (!metrics) return log.of(api)
    return {
      onRequest(record) {
        metrics.addRequest(api, record)
        if (!onlyFailed || record.status >= 400) onRequest?.(record)
      },
    }
  }
  return { ...log, of: (api) => ({ ...counted(api), ...(tracing && { beginSpan: tracing.requests(api) }) }) }
}

/** What makes traces, loaded only where the configuration has somewhere to send them. */
async function traces({ admin }: Config, deps: NodeDeps): Promise<NodeTracing | undefined> {
  const { traceSink: sink, traceSampleRatio: ratio } = admin
  if (sink === null) return undefined
  const { startTracing } = await import('./tracing/start.js')
  const { log, random, version, identity } = deps
  return startTracing(sink, log, { node: identity.nodeId, version, ratio, random })
}

/** The graces that tests may shorten. */
function gracesOf({ durationsForTests: given }: Config) {
  return {
    tables: {
      ...(given.tombstoneMs !== null && { tombstoneDelayMs: given.tombstoneMs }),
      ...(given.comparisonMs !== null && { syncIntervalMs: given.comparisonMs }),
    },
    graces: {
      unreferencedMs: given.unreferencedBlockMs ?? GRACES.unreferencedMs,
      unclaimedMs: given.unclaimedBlockMs ?? GRACES.unclaimedMs,
    },
  }
}

function lifecycleOf({ lifecycleDaySeconds, multipartAbortAfterMs, useLocalTz }: Config): LifecycleOptions {
  const dayMs = lifecycleDaySeconds === null ? undefined : lifecycleDaySeconds * 1000
  return {
    calendar: dayMs === undefined ? UTC_CALENDAR : shortCalendar(dayMs),
    ...(dayMs !== undefined && { runEveryMs: dayMs / 4 }),
    ...(multipartAbortAfterMs !== null && { abortUploadsAfterMs: multipartAbortAfterMs }),
    ...(useLocalTz && { utcOffsetMs: (nowMs) => -new Date(nowMs).getTimezoneOffset() * 60_000 }),
  }
}

function dataDirsOf(config: Config): DataDirs {
  return new DataDirs(
    config.dataDirs.map(({ path, capacityBytes, readOnly }) => ({
      path,
      readOnly,
      capacity: capacityBytes ?? 1,
    })),
  )
}

/** Free and total space of the file systems that hold the folders; each file system counts once. */
async function spaceOf(folders: readonly string[]): Promise<DiskSpace | null> {
  const seen = new Set<string>()
  let freeBytes = 0
  let totalBytes = 0
  for (const folder of folders) {
    const stats = await statfs(folder).catch(() => undefined)
    if (!stats) continue
    const id = `${stats.type}/${stats.blocks}/${stats.bfree}`
    if (seen.has(id)) continue
    seen.add(id)
    freeBytes += stats.bavail * stats.bsize
    totalBytes += stats.blocks * stats.bsize
  }
  return totalBytes > 0 ? { available: freeBytes, total: totalBytes } : null
}

/** Finds other nodes in directories, and announces this one there if it has an address to announce. */
async function startDiscovery(
  { consul, kubernetes }: Config,
  { cluster, quorum }: Core,
  env: WorkerEnv,
  announced: string | undefined,
): Promise<Worker[]> {
  const [{ consulDirectory, discovery, kubernetesDirectory }, { systemHttpCall }] = await Promise.all([
    import('./discovery/discovery.js'),
    import('../platform/http-call.js'),
  ])
  const address = announced === undefined ? undefined : tryParseAddress(announced)
  const own = address && { id: quorum.self, hostname: hostname(), ...address }
  if (!own) env.log.warn({}, 'this node is not announced to others: rpc_public_addr is not set')
  const directories = {
    ...(consul && { consul: consulDirectory(consul, systemHttpCall) }),
    ...(kubernetes && { kubernetes: kubernetesDirectory(kubernetes, systemHttpCall, process.env) }),
  }
  return Object.entries(directories).map(([name, directory]) => {
    const worker = discovery(`${name}-discovery`, env, directory, own, (nodes) =>
      cluster.peering.learn(nodes),
    )
    worker.start()
    return worker
  })
}
