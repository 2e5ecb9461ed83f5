/** The command line of Garage 2.5.0 as data: what must work here as it is typed there. */

/** A verb, its arguments, and its flags: "-z --zone=" takes a value, "-t --tag=*" several times. */
export type GarageVerb = [verb: string, args: string[], flags: string[]]

const YES = '--yes'
const ALL = '-a --all-nodes'
const PERMISSIONS = ['--key=', '--read', '--write', '--owner']

export const GARAGE_VERBS: GarageVerb[] = [
  ['server', [], ['--single-node', '--default-access-key', '--default-bucket']],
  ['health', [], ['-q --quiet']],
  ['status', [], []],
  ['node id', [], ['-q --quiet']],
  ['node connect', ['peer'], []],

  [
    'layout assign',
    ['n1', 'n2'],
    ['-z --zone=', '-c --capacity=10G', '-g --gateway', '-t --tag=*', '--replace=*'],
  ],
  ['layout remove', ['n1'], []],
  ['layout config', [], ['-r --redundancy=2']],
  ['layout show', [], []],
  ['layout apply', [], ['--version=3']],
  ['layout revert', [], [YES]],
  ['layout history', [], []],
  ['layout skip-dead-nodes', [], ['--version=3', '--allow-missing-data']],

  ['bucket list', [], []],
  ['bucket info', ['b'], []],
  ['bucket create', ['b'], []],
  ['bucket delete', ['b'], [YES]],
  ['bucket alias', ['b', 'name'], ['--local=']],
  ['bucket unalias', ['name'], ['--local=']],
  ['bucket allow', ['b'], PERMISSIONS],
  ['bucket deny', ['b'], PERMISSIONS],
  ['bucket website', ['b'], ['--allow', '--deny', '-i --index-document=', '-e --error-document=']],
  ['bucket set-quotas', ['b'], ['--max-size=30GiB', '--max-objects=10']],
  ['bucket cleanup-incomplete-uploads', ['b', 'c'], ['--older-than=2h 5min']],
  ['bucket inspect-object', ['b', 'key'], []],

  ['key list', [], []],
  ['key info', ['k'], ['--show-secret', '--key-id', '--secret-key']],
  ['key create', ['name'], ['--expires-in=']],
  ['key rename', ['k', 'name'], []],
  ['key delete', ['k'], [YES]],
  ['key allow', ['k'], ['--create-bucket']],
  ['key deny', ['k'], ['--create-bucket']],
  ['key import', ['id', 'secret'], ['-n=', YES]],
  ['key set', ['k'], ['--expires-in=', '--never-expires']],
  ['key delete-expired', [], [YES]],
  ['key export-env', ['k'], ['--prefix=']],

  ['admin-token list', [], []],
  ['admin-token info', ['t'], []],
  ['admin-token create', ['name'], ['--expires-in=', '--scope=', '-q --quiet']],
  ['admin-token create', [], []],
  ['admin-token rename', ['t', 'name'], []],
  ['admin-token set', ['t'], ['--expires-in=', '--never-expires', '--scope=-ListKeys']],
  ['admin-token delete', ['t'], [YES]],
  ['admin-token delete-expired', [], [YES]],

  ...[
    'tables',
    'blocks',
    'clear-resync-queue',
    'versions',
    'mpu',
    'block-refs',
    'block-rc',
    'aliases',
    'rebalance',
  ].map((what): GarageVerb => ['repair', [what], [ALL, YES]]),
  ...['start', 'pause', 'resume', 'cancel'].map(
    (what): GarageVerb => ['repair', ['scrub', what], [ALL, YES]],
  ),
  ['offline-repair', ['k2v_item_counters'], [YES]],
  ['offline-repair', ['object_counters'], [YES]],

  ['stats', [], [ALL]],
  ['worker list', [], ['-b --busy', '-e --errors']],
  ['worker info', ['7'], []],
  ['worker get', ['variable'], [ALL]],
  ['worker get', [], []],
  ['worker set', ['variable', 'value'], [ALL]],
  ['block list-errors', [], []],
  ['block info', ['hash'], []],
  ['block retry-now', ['h1', 'h2'], ['--all']],
  ['block retry-now', [], []],
  ['block purge', ['h1', 'h2'], [YES]],
  ['meta snapshot', [], ['--all']],

  ['convert-db', [], ['-i=', '-a=lmdb', '-o=', '-b=sqlite', '--lmdb-map-size=10GiB']],
  ['admin-api-schema', [], []],
  ['json-api', ['GetClusterStatus'], []],
  ['json-api', ['GetBucketInfo', '-'], []],
  ['completions', ['bash'], []],
  ['completions', ['zsh'], []],
  ['completions', ['fish'], []],
]

/** Those before the verb, each of them also a variable of the environment, GARAGE_…. */
export const GARAGE_GLOBAL_FLAGS = [
  '-h --rpc-host=',
  '-c --config=',
  '-s --rpc-secret=',
  '--rpc-secret-file=',
  '--admin-token=',
  '--admin-token-file=',
  '--metrics-token=',
  '--metrics-token-file=',
  '--allow-world-readable-secrets=true',
]
