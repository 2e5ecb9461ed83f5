import { describe, expect, it } from 'vitest'
import {
  type Answers,
  BUCKET,
  BUCKET_ID,
  CONFIG,
  cli,
  KEY,
  KEY_ID,
  LAYOUT,
  NODE_A,
  NODE_B,
  NODE_C,
  nodeStatus,
  SECRET,
  STATUS,
} from '../../testing/cli-fakes.js'
import { CarportError } from '../util/errors.js'

const cluster: Answers = { status: STATUS, 'layout.get': LAYOUT, 'layout.stage': LAYOUT }
const bucketAndKey: Answers = {
  'bucket.info': BUCKET,
  'bucket.create': BUCKET,
  'bucket.update': BUCKET,
  'bucket.addAlias': BUCKET,
  'bucket.removeAlias': BUCKET,
  'bucket.allowKey': BUCKET,
  'bucket.denyKey': BUCKET,
  'bucket.delete': null,
  'key.info': KEY,
  'key.update': KEY,
  'key.delete': null,
  'key.create': { ...KEY, secretAccessKey: 's3cr3t' },
  'key.import': { ...KEY, secretAccessKey: 's3cr3t' },
}

/** Splits a command line without quoting into words. */
function run(line: string, answers: Answers = {}, env: Record<string, string> = {}) {
  return cli(line.split(' '), { answers: { ...cluster, ...bucketAndKey, ...answers }, env })
}

describe('the command line asks the node for', () => {
  it.each<[line: string, operation: string, args: object]>([
    ['node connect abc@h:1', 'node.connect', { nodes: ['abc@h:1'] }],
    [
      'layout assign -z z1 -c 100G -t x -t y aa11',
      'layout.stage',
      { roles: [{ id: NODE_A, zone: 'z1', capacity: 1e11, tags: ['x', 'y'] }] },
    ],
    [
      'layout assign cc33 aa11 -z z9 -g --replace aa22',
      'layout.stage',
      {
        roles: [
          { id: NODE_B, remove: true },
          { id: NODE_C, zone: 'z9', capacity: null, tags: [] },
          { id: NODE_A, zone: 'z9', capacity: null, tags: ['ssd', 'new'] },
        ],
      },
    ],
    [
      'layout assign -z z2 aa11',
      'layout.stage',
      { roles: [{ id: NODE_A, zone: 'z2', capacity: 1e11, tags: ['ssd', 'new'] }] },
    ],
    ['layout remove aa11', 'layout.stage', { roles: [{ id: NODE_A, remove: true }] }],
    ['layout config -r 2', 'layout.stage', { parameters: { zoneRedundancy: { atLeast: 2 } } }],
    ['layout config --redundancy max', 'layout.stage', { parameters: { zoneRedundancy: 'maximum' } }],
    ['layout apply --version 1', 'layout.apply', { version: 1 }],
    ['layout revert --yes', 'layout.revert', {}],
    ['layout skip-dead-nodes --version 3', 'layout.skipDeadNodes', { version: 3, allowMissingData: false }],
    [
      'layout skip-dead-nodes --version 3 --allow-missing-data',
      'layout.skipDeadNodes',
      { version: 3, allowMissingData: true },
    ],
    ['bucket info photos', 'bucket.info', { search: 'photos' }],
    ['bucket create photos', 'bucket.create', { globalAlias: 'photos' }],
    ['bucket delete photos --yes', 'bucket.delete', { id: BUCKET_ID }],
    ['bucket alias photos pics', 'bucket.addAlias', { bucketId: BUCKET_ID, globalAlias: 'pics' }],
    [
      'bucket alias --local app photos pics',
      'bucket.addAlias',
      { bucketId: BUCKET_ID, accessKeyId: KEY_ID, localAlias: 'pics' },
    ],
    ['bucket unalias photos', 'bucket.removeAlias', { bucketId: BUCKET_ID, globalAlias: 'photos' }],
    [
      'bucket unalias mine --local app',
      'bucket.removeAlias',
      { bucketId: BUCKET_ID, accessKeyId: KEY_ID, localAlias: 'mine' },
    ],
    [
      'bucket allow --read --write photos --key app',
      'bucket.allowKey',
      { bucketId: BUCKET_ID, accessKeyId: KEY_ID, permissions: { read: true, write: true } },
    ],
    [
      'bucket deny --owner photos --key GK35',
      'bucket.denyKey',
      { bucketId: BUCKET_ID, accessKeyId: KEY_ID, permissions: { owner: true } },
    ],
    [
      'bucket website --allow photos -i main.html',
      'bucket.update',
      {
        id: BUCKET_ID,
        websiteAccess: { enabled: true, indexDocument: 'main.html', errorDocument: 'oops.html' },
      },
    ],
    [
      'bucket website --allow photos --consistency-mode degraded',
      'bucket.update',
      {
        id: BUCKET_ID,
        websiteAccess: {
          enabled: true,
          indexDocument: 'index.html',
          errorDocument: 'oops.html',
          consistencyMode: 'degraded',
        },
      },
    ],
    ['bucket website --deny photos', 'bucket.update', { id: BUCKET_ID, websiteAccess: { enabled: false } }],
    [
      'bucket set-quotas photos --max-size 10GiB',
      'bucket.update',
      { id: BUCKET_ID, quotas: { maxSize: 10 * 2 ** 30, maxObjects: null } },
    ],
    [
      'bucket set-quotas photos --max-size none --max-objects 5',
      'bucket.update',
      { id: BUCKET_ID, quotas: { maxSize: null, maxObjects: 5 } },
    ],
    [
      'bucket cleanup-incomplete-uploads photos --older-than 2h',
      'bucket.cleanupIncompleteUploads',
      { bucketId: BUCKET_ID, olderThanSecs: 7200 },
    ],
    ['bucket inspect-object photos a/b', 'bucket.inspectObject', { bucketId: BUCKET_ID, key: 'a/b' }],
    ['key info app', 'key.info', { search: 'app', showSecretKey: false }],
    ['key info app --show-secret', 'key.info', { search: 'app', showSecretKey: true }],
    ['key create', 'key.create', { name: 'Unnamed key' }],
    ['key create app --expires-in 1d', 'key.create', { name: 'app', expiration: '2026-01-02T00:00:00.000Z' }],
    ['key rename app other', 'key.update', { id: KEY_ID, name: 'other' }],
    ['key delete app --yes', 'key.delete', { id: KEY_ID }],
    ['key allow --create-bucket app', 'key.update', { id: KEY_ID, allow: { createBucket: true } }],
    ['key deny --create-bucket app', 'key.update', { id: KEY_ID, deny: { createBucket: true } }],
    ['key set app --never-expires', 'key.update', { id: KEY_ID, neverExpires: true }],
    ['key set app --expires-in 1h', 'key.update', { id: KEY_ID, expiration: '2026-01-01T01:00:00.000Z' }],
    [
      'key import GK1 s3cr3t --yes -n app',
      'key.import',
      { accessKeyId: 'GK1', secretAccessKey: 's3cr3t', name: 'app' },
    ],
    ['stats -a', 'node.statistics', { node: '*' }],
    ['worker list -b', 'worker.list', { node: 'self', busyOnly: true, errorOnly: false }],
    ['worker info 3', 'worker.info', { node: 'self', id: 3 }],
    ['worker get -a', 'worker.getVariable', { node: '*', variable: null }],
    [
      'worker set scrub-tranquility 4',
      'worker.setVariable',
      { node: 'self', variable: 'scrub-tranquility', value: '4' },
    ],
    ['block list-errors', 'block.listErrors', { node: 'self' }],
    ['block info ABCD', 'block.info', { node: 'self', blockHash: 'abcd' }],
    ['block retry-now --all', 'block.retryResync', { node: 'self', all: true }],
    ['block retry-now abcd', 'block.retryResync', { node: 'self', blockHashes: ['abcd'] }],
    ['block purge --yes abcd', 'block.purge', { node: 'self', blockHashes: ['abcd'] }],
    ['repair -a --yes tables', 'repair.launch', { node: '*', repairType: 'tables' }],
    ['repair --yes mpu', 'repair.launch', { node: 'self', repairType: 'multipartUploads' }],
    ['repair scrub start --yes', 'repair.launch', { node: 'self', repairType: { scrub: 'start' } }],
    ['meta snapshot --all', 'meta.snapshot', { node: '*' }],
  ])('%s', async (line, operation, args) => {
    // The last call does the command's work; the ones before it look names up.
    const { calls } = await run(line)
    expect(calls.filter((call) => call.operation === operation).at(-1)?.args).toEqual(args)
  })
})

describe('what is printed', () => {
  it('status: aligned tables of the nodes that are up and down', async () => {
    const { out, status } = await run('status')
    expect(status).toBe(0)
    expect(out).toBe(`==== HEALTHY NODES ====
ID                Hostname  Address        Tags       Zone  Capacity  DataAvail         Sync      Version
aa11000000000000  host      10.0.0.1:3901  [ssd,new]  z1    100.0 GB  500.0 GB (50.0%)  ok        0.1.0
aa22000000000000  b         10.0.0.1:3901  []         z2    gateway   N/A               12 to do  0.1.0

==== FAILED NODES ====
ID                Hostname  Tags  Zone  Capacity          Last seen
cc33000000000000  ?                     NO ROLE ASSIGNED  2 hours ago`)
  })

  it('status: nodes whose clocks are off', async () => {
    const clockDoubt = 'the clock of this node is 172800 s ahead of those of the other nodes: set it right'
    const nodes = [nodeStatus(NODE_A, { clockOffMs: 172_800_000, clockDoubt })]
    const { out } = await run('status', { status: { layoutVersion: 1, nodes } })
    expect(out).toContain(`==== WRONG CLOCKS ====\n${NODE_A.slice(0, 16)} host: ${clockDoubt}`)
  })

  it('status: staged roles, draining nodes, and a cluster without layout', async () => {
    const staged = { ...LAYOUT, stagedRoleChanges: [{ id: NODE_C, zone: 'z3', tags: [], capacity: 1e9 }] }
    const withStaged = await run('status', { 'layout.get': staged })
    expect(withStaged.out).toContain('cc33000000000000  ?                     pending...  2 hours ago')
    expect(withStaged.out).toContain('==== STAGED ROLE CHANGES ====\nID')
    const draining = { layoutVersion: 2, nodes: [nodeStatus(NODE_C, { isUp: false, draining: true })] }
    expect((await run('status', { status: draining })).out).toMatch(
      /draining\.\.\. +never seen[\s\S]*go on without them/,
    )
    expect((await run('status', { status: { layoutVersion: 0, nodes: [] } })).out).toContain('No layout yet')
  })

  it('key create: lines that scripts read', async () => {
    const { out } = await run('key create app')
    expect(out.split('\n').map((line) => line.split(/:\s+/))).toEqual(
      expect.arrayContaining([
        ['Key ID', KEY_ID],
        ['Secret key', 's3cr3t'],
      ]),
    )
    // Scripts read these lines by awk '/Key ID/{print $3}' and '/Secret key/{print $3}'.
    const third = (pattern: RegExp) =>
      out
        .split('\n')
        .find((l) => pattern.test(l))!
        .trim()
        .split(/\s+/)[2]
    expect(third(/Key ID/)).toBe(KEY_ID)
    expect(third(/Secret key/)).toBe('s3cr3t')
  })

  it('key info', async () => {
    expect((await run('key info app')).out).toBe(`==== ACCESS KEY INFORMATION ====
Key ID:              GK3515373e4c851ebaad366558
Key name:            app
Secret key:          (redacted)
Created:             2025-06-14 16:12:29 UTC
Validity:            valid
Expiration:          never

Can create buckets:  false

==== BUCKETS FOR THIS KEY ====
Permissions  ID                Global aliases   Local aliases
R O          b1b1b1b1b1b1b1b1  photos, ... (2)  mine`)
  })

  it('bucket info', async () => {
    expect((await run('bucket info photos')).out).toBe(`==== BUCKET INFORMATION ====
Bucket:            b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1
Created:           2025-06-14 16:12:29 UTC

Size:              1.0 MiB (1.0 MB)
Objects:           3

Website access:    true
  index document:  index.html
  error document:  oops.html
  consistency:     consistent

Quotas:            enabled
  maximum size:    953.7 MiB (1.0 GB)

Global alias:      photos

==== KEYS FOR THIS BUCKET ====
Permissions  Access key                  Name  Local aliases
RW           GK3515373e4c851ebaad366558  app`)
  })

  it('lists, oldest first', async () => {
    const item = (id: string, created: string) => ({ id, created, globalAliases: [id], localAliases: [] })
    const buckets = [item('b', '2025-02-01T00:00:00Z'), item('a', '2025-01-01T00:00:00Z')]
    expect((await run('bucket list', { 'bucket.list': buckets })).out).toBe(
      'ID  Created     Global aliases  Local aliases\na   2025-01-01  a\nb   2025-02-01  b',
    )
    const keys = [
      { id: 'GK2', name: 'x', created: '2025-02-01T00:00:00Z', expiration: null, expired: false },
      { id: 'GK1', name: 'y', created: null, expiration: '2025-01-01T00:00:00Z', expired: true },
    ]
    expect((await run('key list', { 'key.list': keys })).out).toBe(
      'ID   Created     Name  Expiration\nGK1              y     expired\nGK2  2025-02-01  x     never',
    )
  })

  it('layout show and apply: the text of the node', async () => {
    const shown = { layout: LAYOUT, preview: null, text: ['==== CURRENT ====', 'line'] }
    expect((await run('layout show', { 'layout.show': shown })).out).toBe('==== CURRENT ====\nline')
    const applied = { message: ['moves 3 partitions'], layout: LAYOUT }
    expect((await run('layout apply --version 1', { 'layout.apply': applied })).out).toMatch(
      /^moves 3 partitions\nLayout version 1 is applied/,
    )
  })

  it('layout history: versions, and how far nodes are while data moves', async () => {
    const history = {
      currentVersion: 2,
      minAck: 1,
      versions: [{ version: 2, status: 'Current', storageNodes: 3, gatewayNodes: 0 }],
      updateTrackers: { [NODE_A]: { ack: 2, sync: 1, syncAck: 1 } },
    }
    const { out } = await run('layout history', { 'layout.history': history })
    expect(out).toContain('#2       current  3              0')
    expect(out).toContain('aa11000000000000  #2   #1    #1')
    expect(out).toContain('skip-dead-nodes --version 2')
    const stable = await run('layout history', { 'layout.history': { ...history, updateTrackers: null } })
    expect(stable.out).toContain('no rows are being moved')
  })

  it('--json, before or after the command: the result alone', async () => {
    for (const line of ['--json status', 'status --json']) {
      const { out, err } = await run(line)
      expect(JSON.parse(out)).toEqual(STATUS)
      expect(err).toBe('')
    }
    expect(JSON.parse((await run('key create app --json')).out)).toMatchObject({ secretAccessKey: 's3cr3t' })
    expect(JSON.parse((await run('bucket delete photos --yes --json')).out)).toEqual({ id: BUCKET_ID })
  })

  it('names cannot drive the terminal', async () => {
    const nodes = [nodeStatus(NODE_A, { hostname: '\x1b[2Jevil\nx' })]
    const { out } = await run('status', { status: { layoutVersion: 1, nodes } })
    expect(out).toContain('\\u001b[2Jevil\\u000ax')
    const failing = await run('bucket info x', {
      'bucket.info': () => {
        throw new CarportError('NotFound', 'no bucket \x1b[31m')
      },
    })
    expect(failing.err).toBe('carport: no bucket \\u001b[31m')
  })

  it('answers of several nodes, and status 1 if one failed', async () => {
    const answers = { 'meta.snapshot': { success: { [NODE_A]: null }, error: { [NODE_B]: 'disk full' } } }
    const { out, err, status } = await run('meta snapshot --all', answers)
    expect(out).toBe('aa11000000000000  Snapshot created\naa22000000000000  Error: disk full')
    expect(err).toMatch(/^carport: 1 of the nodes failed/)
    expect(status).toBe(1)
  })

  it('workers, blocks and repairs', async () => {
    const worker = {
      id: 4,
      name: 'scrub',
      state: { throttled: { durationSecs: 1.5 } },
      errors: 2,
      consecutiveErrors: 1,
      lastError: { message: 'x', secsAgo: 61 },
      persistentErrors: null,
      queueLength: 7,
      tranquility: null,
      progress: '12%',
      freeform: ['next run in May'],
    }
    const idle = { ...worker, id: 1, name: 'gc', state: 'idle', errors: 0, lastError: null }
    const list = await run('worker list', {
      'worker.list': { success: { [NODE_A]: [idle, worker] }, error: {} },
    })
    expect(list.out.split('\n').map((line) => line.replace(/ +/g, ' '))).toEqual([
      'TID State Name Tranq Done Queue Errors Consec Last',
      '4 Busy* (1.500 s) scrub - 12% 7 2 1 1 minute ago',
      '1 Idle gc - 12% 7 - -',
    ])
    const block = {
      blockHash: 'ab'.repeat(32),
      refcount: 2,
      versions: [
        {
          versionId: 'cd'.repeat(32),
          refDeleted: false,
          versionDeleted: false,
          garbageCollected: false,
          backlink: { object: { bucketId: BUCKET_ID, key: 'a.jpg' } },
        },
      ],
    }
    const info = await run('block info abab', { 'block.info': { success: { [NODE_A]: block }, error: {} } })
    expect(info.out).toContain('active  cdcdcdcdcdcdcdcd  b1b1b1b1b1b1b1b1  a.jpg')
    expect(info.out).toContain('The count is 2 for 1 references')
    const repair = await run('repair --yes blocks', {
      'repair.launch': { success: { [NODE_A]: null }, error: {} },
    })
    expect(repair.out).toBe('aa11000000000000  Repair launched')
  })
})

describe('what goes wrong is one line on stderr and status 1, or 2 where the command line is wrong', () => {
  it.each<[line: string, message: RegExp]>([
    ['stauts', /unknown command 'stauts' \(Did you mean .*status/],
    ['status --jsno', /unknown option '--jsno' \(Did you mean --json\?\)/],
    ['bucket info', /missing required argument 'bucket'/],
    ['bucket info a b', /too many arguments/],
    ['bucket allow photos --read', /required option '--key <key>'/],
    ['bucket allow photos --key app', /nothing to change: give --read/],
    ['bucket website photos', /give one of --allow and --deny/],
    ['bucket website photos --allow --deny', /give one of --allow and --deny/],
    ['bucket set-quotas photos', /nothing to set/],
    ['bucket set-quotas photos --max-size much', /--max-size is "much", expected a number of bytes/],
    ['bucket set-quotas photos --max-objects many', /--max-objects is "many", expected a whole number/],
    ['bucket cleanup-incomplete-uploads photos --older-than x', /--older-than is "x", expected a duration/],
    ['bucket delete photos', /deletes bucket b1b1.*confirm with --yes/],
    ['bucket unalias nothing --local app', /key GK\w+ calls no bucket "nothing"/],
    ['key delete app', /deletes access key GK.*confirm with --yes/],
    ['key import GK1 s3cr3t', /confirm with --yes/],
    ['key set app', /give one of --expires-in and --never-expires/],
    ['key set app --expires-in never', /--expires-in is "never", expected a duration/],
    ['key allow app', /give --create-bucket/],
    ['layout assign aa11 -c lots', /argument 'lots' is invalid.*expected a number of bytes/],
    [
      'layout assign aa -z z',
      /2 nodes' ids start with "aa" \(aa11000000000000, aa22000000000000\): give more digits/,
    ],
    ['layout assign bb -z z', /no node's id starts with "bb"/],
    ['layout assign node-a -z z', /"node-a" is no node id/],
    ['layout assign cc33 -c 1G', /node cc33000000000000 has no zone yet: give one with -z/],
    ['layout assign cc33 -z z', /node cc33000000000000 has no capacity yet: give one with -c/],
    ['layout assign cc33 -z z -g -c 1G', /a gateway has no capacity/],
    ['layout config', /give -r/],
    ['layout config -r many', /expected a number of zones, or "max"/],
    ['layout apply', /confirm the version they make with --version 2/],
    ['layout revert', /confirm with --yes/],
    ['repair tables', /confirm with --yes/],
    ['repair --yes nothing', /"nothing" is no repair, expected one of: tables/],
    ['repair --yes scrub', /scrub needs one of: start/],
    ['repair --yes tables now', /"now" is no repair/],
    ['block purge abcd', /confirm with --yes/],
    ['block retry-now', /give hashes of blocks, or --all/],
    ['worker info x', /expected a whole number/],
    ['server --default-bucket', /--default-bucket needs --single-node/],
    ['server --data x', /--data needs --single-node/],
  ])('%s', async (line, message) => {
    const { err, out, status } = await run(line)
    expect(err).toMatch(message)
    expect(err).toMatch(/^carport: [^\n]+$/)
    expect(out).toBe('')
    // These are right in form: only the node can tell that they do not fit.
    expect(status).toBe(/^(bucket unalias|layout assign (aa|bb) )/.test(line) ? 1 : 2)
  })

  it('a bucket with other names is not deleted', async () => {
    const bucket = { ...BUCKET, globalAliases: ['photos', 'pics'] }
    const answers = { 'bucket.info': bucket }
    expect((await run('bucket delete photos --yes', answers)).err).toMatch(/has other aliases \(pics\)/)
    expect((await run('bucket delete b1b1 --yes', answers)).err).toMatch(/has other aliases/)
    expect((await run('bucket delete b1b1 --yes')).err).toBe('')
    const keys = [{ ...BUCKET.keys[0]!, bucketLocalAliases: ['mine'] }]
    expect((await run('bucket delete photos --yes', { 'bucket.info': { ...BUCKET, keys } })).err).toMatch(
      /is "mine" to key GK/,
    )
  })

  it('errors of the node come with their reason; the connection is closed all the same', async () => {
    const failing = (code: ConstructorParameters<typeof CarportError>[0]) => ({
      'key.list': () => {
        throw new CarportError(code, 'because')
      },
    })
    const timeout = await run('key list', failing('Timeout'))
    expect(timeout.err).toBe('carport: the node did not answer in time: because')
    expect(timeout.closed).toBe(1)
    expect((await run('key list', failing('QuorumUnavailable'))).err).toMatch(/too few nodes are up.*because/)
    expect(
      (await run('node connect x@y:1', { 'node.connect': [{ success: false, error: 'refused' }] })).err,
    ).toBe('carport: cannot connect to x@y:1: refused')
  })

  it('an answer that cannot be read shows no stack', async () => {
    const { err, status } = await run('key list', { 'key.list': 5 })
    expect(err).toMatch(/^carport: unexpected error: [^\n]+$/)
    expect(status).toBe(1)
  })
})

describe('help', () => {
  it('is on stdout, and -h is the RPC host', async () => {
    const help = await run('layout assign --help')
    expect(help.status).toBe(0)
    expect(help.out).toContain('-c, --capacity <size>')
    expect((await run('help')).out).toContain('Usage: carport')
    expect((await run('-V')).out).toBe('1.2.3')
    const none = await cli([])
    expect(none.status).toBe(2)
    expect(none.err).toContain('Usage: carport')
  })
})

describe('server', () => {
  it('takes the configuration file, before or after the command', async () => {
    for (const words of [
      ['-c', '/x.toml', 'server'],
      ['server', '-c', '/x.toml'],
    ]) {
      const { servers, err } = await cli(words, { files: { '/x.toml': CONFIG } })
      expect(err).toBe('')
      expect(servers[0]?.config).toMatchObject({ configFile: '/x.toml', secrets: { rpcSecret: SECRET } })
      expect(servers[0]?.options).toMatchObject({ singleNode: false, defaultBucket: false })
    }
  })

  it('runs a single node without a file, with its secrets made in its folder', async () => {
    const words = ['server', '--single-node', '--default-bucket', '--data', '/srv']
    const { servers, secretsMade } = await cli(words, { files: {} })
    expect(secretsMade).toEqual(['/srv/rpc_secret', '/srv/sse_master_key'])
    expect(servers[0]?.config.secrets.sseMasterKeys).toHaveLength(1)
    expect(servers[0]?.config).toMatchObject({ configFile: null, metadataDir: '/srv/meta' })
    expect(servers[0]?.options).toMatchObject({ singleNode: true, defaultBucket: true })
    const given = await cli(['server', '--single-node'], { files: {}, env: { CARPORT_RPC_SECRET: SECRET } })
    expect(given.secretsMade).toEqual(['data/sse_master_key'])
    expect(given.servers[0]?.config.metadataDir).toBe('data/meta')
  })

  it('a single node with a file that wants more copies is refused', async () => {
    const files = { '/x.toml': CONFIG.replace('replication_factor = 1', 'replication_factor = 3') }
    const { err } = await cli(['server', '--single-node', '-c', '/x.toml'], { files })
    expect(err).toMatch(/\/x.toml says replication_factor = 3: set it to 1/)
    expect((await cli(['server', '--single-node', '-c', '/x.toml', '--data', 'd'], { files })).err).toMatch(
      /give one of --data and a configuration file/,
    )
  })

  it('secrets by flags come before everything', async () => {
    const files = { '/etc/carport.toml': CONFIG, '/t': 'from file' }
    const env = { CARPORT_ADMIN_TOKEN_FILE: '/gone', GARAGE_METRICS_TOKEN: 'g' }
    const words = ['--admin-token', 'flag', '--metrics-token-file', '/t', 'server']
    const { servers } = await cli(words, { files, env })
    expect(servers[0]?.config.secrets).toMatchObject({ adminToken: 'flag', metricsToken: 'from file' })
    const world = { files, modes: { '/t': 0o100644 } }
    expect((await cli(['--admin-token-file', '/t', 'server'], world)).err).toMatch(/which others may read/)
    const allowed = await cli(['--allow-world-readable-secrets', '--admin-token-file', '/t', 'server'], world)
    expect(allowed.servers[0]?.config.secrets.adminToken).toBe('from file')
  })

  it('tells all problems of the configuration, a line each', async () => {
    const files = { '/etc/carport.toml': 'metadata_dri = "/m"\n[s3_api]\n' }
    const { err, status } = await cli(['server'], { files })
    expect(status).toBe(1)
    expect(err.split('\n').length).toBeGreaterThan(4)
    expect(err).toMatch(
      /^carport: \/etc\/carport.toml:\n {2}metadata_dri: is not a known key, did you mean "metadata_dir"/,
    )
  })
})

describe('node id', () => {
  it('prints the id and the public address; what to do with it goes to stderr', async () => {
    const { out, err } = await run('node id')
    expect(out).toBe(`${NODE_A}@node-a.example.org:3901`)
    expect(err).toContain(`carport node connect ${NODE_A}@node-a.example.org:3901`)
    const quiet = await run('node id -q')
    expect(quiet.out).toBe(out)
    expect(quiet.err).toBe('')
    expect(JSON.parse((await run('node id --json')).out)).toEqual({
      id: NODE_A,
      addr: 'node-a.example.org:3901',
    })
  })

  it('prints the id alone without a public address, and needs no secret', async () => {
    const text = CONFIG.replace(/^rpc_(public_addr|secret).*$/gm, '')
    const files = { '/etc/garage.toml': text }
    expect((await cli(['node', 'id', '-q'], { files })).out).toBe(NODE_A)
    expect((await cli(['node', 'id'], { files })).err).toContain(`${NODE_A}@<address of this node>:3901`)
  })
})
