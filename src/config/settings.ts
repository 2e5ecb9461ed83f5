import type { ConsulDiscovery, KubernetesDiscovery } from './discovery.js'
import type { AccessLogConfig, LogConfig } from './logging.js'
import type { NotificationTarget } from './notifications.js'
import type { OidcProvider } from './oidc.js'
import type { DataDir } from './schema.js'
import type { Problem } from './section.js'
import type { HostPort, ListenAddress, PeerAddress, TcpAddress } from './values.js'

export type ConsistencyMode = 'consistent' | 'degraded' | 'dangerous'

/** Files of a certificate (with its chain) and its private key, in PEM. */
export interface TlsFiles {
  readonly certFile: string
  readonly keyFile: string
}

/** A node's configuration without its secrets. Frozen in depth. Null means "not set". */
export interface Settings {
  /** The file that it was read from; null for a single node without one. */
  readonly configFile: string | null
  readonly metadataDir: string
  readonly metadataSnapshotsDir: string
  readonly metadataFsync: boolean
  readonly metadataAutoSnapshotIntervalMs: number | null
  /** How far clocks may be off before they are not believed. */
  readonly maxClockDriftMs: number
  readonly dataDirs: readonly Readonly<DataDir>[]
  readonly dataFsync: boolean
  readonly disableScrub: boolean
  readonly useLocalTz: boolean
  readonly lmdbMapSizeBytes: number
  readonly blockSizeBytes: number
  readonly inlineBytesMax: number
  readonly blockRamBufferMaxBytes: number
  readonly blockMaxConcurrentReads: number
  readonly blockMaxConcurrentWritesPerRequest: number
  /** Null: as many as the machine allows. */
  readonly maxConnections: number | null
  readonly maxRequests: number | null
  readonly requestMemoryBytes: number
  /** A zstd level; null: blocks are stored as they are. */
  readonly compressionLevel: number | null
  readonly replicationFactor: number
  readonly consistencyMode: ConsistencyMode
  readonly allowPunycode: boolean
  /** Whether other users of the machine may read secret files, and the modes of files that the node makes are left to the umask. */
  readonly allowWorldReadableSecrets: boolean
  readonly rpc: {
    readonly bindAddr: Readonly<TcpAddress>
    readonly bindOutgoing: boolean
    readonly publicAddr: Readonly<HostPort> | null
    /** A network (CIDR) that selects the own address to announce when `publicAddr` is null. */
    readonly publicAddrSubnet: string | null
    readonly pingTimeoutMs: number | null
    readonly timeoutMs: number | null
    readonly bootstrapPeers: readonly Readonly<PeerAddress>[]
  }
  readonly s3Api: {
    /** Null: this node serves no S3. */
    readonly bindAddr: Readonly<ListenAddress> | null
    readonly region: string
    /** Where clients reach the S3 API, as a URL: told by GetNodeInfo, and nothing else. */
    readonly publicEndpoint: string | null
    /** Whether clients should name buckets in the path there; null: not told. */
    readonly publicEndpointPathStyle: boolean | null
    /** Without leading dot, in lower case; null: no virtual-host style. */
    readonly rootDomain: string | null
    /** Whether requests signed by Signature V2 are taken. */
    readonly acceptSignatureV2: boolean
    /** Whether storage classes other than STANDARD are taken, all kept in the same way. */
    readonly acceptStorageClasses: boolean
    /** Whose the names are that CreateBucket gives: everybody's, or the calling key's alone. */
    readonly bucketNamespace: 'global' | 'local'
    /** Null: served without TLS. */
    readonly tls: TlsFiles | null
  }
  readonly k2vApi: {
    readonly bindAddr: Readonly<ListenAddress>
    readonly publicEndpoint: string | null
    readonly tls: TlsFiles | null
  } | null
  readonly web: {
    readonly bindAddr: Readonly<ListenAddress>
    /** Without leading dot, in lower case; null: sites have full host names only. */
    readonly rootDomain: string | null
    readonly addHostToMetrics: boolean
    /** Memory for small pages. */
    readonly pageCacheBytesMax: number
    readonly tls: TlsFiles | null
  } | null
  readonly admin: {
    readonly bindAddr: Readonly<ListenAddress> | null
    readonly metricsRequireToken: boolean
    readonly traceSink: string | null
    /** The share of requests that are traced, 0 to 1. */
    readonly traceSampleRatio: number
    readonly tls: TlsFiles | null
  }
  readonly console: {
    /** Whether this node serves the console. */
    readonly enabled: boolean
    /** Null: the console is served at the address of the admin API. */
    readonly bindAddr: Readonly<ListenAddress> | null
    /** For an address of its own. */
    readonly tls: TlsFiles | null
  }
  /** Addresses and networks of proxies whose word counts about who the client is. */
  readonly trustedProxies: readonly string[]
  readonly accessLog: Readonly<AccessLogConfig>
  /** Incomplete multipart uploads older than this are ended, in every bucket; null: only where a rule says so. */
  readonly multipartAbortAfterMs: number | null
  /** The length of a day for lifecycle rules, which only tests set; null: 24 hours that end at midnight. */
  readonly lifecycleDaySeconds: number | null
  /** Graces in ms that only tests set; null: as they are built in. */
  readonly durationsForTests: {
    /** Age at which tombstones may be collected, and time between two comparisons of a partition. */
    readonly tombstoneMs: number | null
    readonly comparisonMs: number | null
    /** How long blocks are kept after their last reference went, or before their first one comes. */
    readonly unreferencedBlockMs: number | null
    readonly unclaimedBlockMs: number | null
  }
  /** Identity providers whose tokens are exchanged for temporary credentials. */
  readonly oidc: readonly Readonly<OidcProvider>[]
  /** Finds other nodes through Consul; null: not. */
  readonly consul: Readonly<ConsulDiscovery> | null
  /** Finds other nodes through Kubernetes; null: not. */
  readonly kubernetes: Readonly<KubernetesDiscovery> | null
  /** Processes that serve requests; has no effect, since a node is one process. */
  readonly workers: number
  readonly log: LogConfig
  /** Settings that were accepted but have no effect; logged once at the start. */
  readonly warnings: readonly Problem[]
}

export interface Secrets {
  /** 64 lower-case hexadecimal digits. */
  readonly rpcSecret: string
  /** 64 lower-case hexadecimal digits each, newest first; empty: SSE-S3 is not offered. */
  readonly sseMasterKeys: readonly string[]
  readonly adminToken: string | null
  readonly metricsToken: string | null
  /** Targets of event notifications; among the secrets, as they have passwords. */
  readonly notifications: readonly Readonly<NotificationTarget>[]
}

/** Everything a node needs to know at its start. Never log `secrets`. */
export interface Config extends Settings {
  readonly secrets: Secrets
}
