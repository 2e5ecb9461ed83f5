/** What is wrong with a policy, or will surprise its author, before the server is asked. */
import { policyFields, principalOf } from '../../forms/shapes'
import { type Fields, isFields, textsOf, type Value } from '../../forms/values'
import { type TextName, t } from '../../texts/texts'

const FIELDS = new Set([
  ...[
    'Sid',
    'Effect',
    'Principal',
    'NotPrincipal',
    'Action',
    'NotAction',
    'Resource',
    'NotResource',
    'Condition',
  ],
])
/** Actions on the bucket itself, of which people forget that they need its own name as the resource. */
const OF_BUCKET = /^s3:(List|GetBucket|PutBucket|DeleteBucket)/i
const OF_OBJECTS = /^s3:(Get|Put|Delete|Restore|Abort)(?!Bucket)[A-Za-z*]*(Object|Multipart)/i
const CHANGES = /^s3:(\*$|(Put|Delete|Create|Abort|Restore|Replicate|Bypass))/i

/** Sentences about a policy that could be read as JSON. */
export function policyChecks(value: Value, bucket: string): string[] {
  const found: string[] = []
  const statements = policyFields(value)
  if (statements.length === 0) found.push(t('check.no-statement'))
  if (isFields(value) && value.Version === undefined) found.push(t('check.no-version'))
  for (const [i, statement] of statements.entries()) {
    for (const [name, values] of problemsOf(statement, bucket)) {
      found.push(t('check.in-rule', { number: i + 1, problem: t(name, values) }))
    }
  }
  return found
}

type Problem = readonly [name: TextName, values: Record<string, string>]

function problemsOf(statement: Fields, bucket: string): Problem[] {
  const problems: Problem[] = []
  const tell = (name: TextName, values: Record<string, string> = {}) => problems.push([name, values])
  const { Effect, Principal, NotPrincipal, Action, NotAction, Resource, NotResource } = statement
  for (const name of Object.keys(statement)) if (!FIELDS.has(name)) tell('check.unknown-field', { name })
  if (Effect !== 'Allow' && Effect !== 'Deny') tell('check.no-effect')
  if (textsOf(Action).length + textsOf(NotAction).length === 0) tell('check.no-action')
  if (textsOf(Resource).length + textsOf(NotResource).length === 0) tell('check.no-resource')
  const who = principalOf(Principal)
  if (NotPrincipal === undefined && who && !who.isEverybody && who.keys.length === 0)
    tell('check.no-principal')
  const actions = textsOf(Action)
  const resources = textsOf(Resource).map((name) => name.replace(/^arn:aws:s3:::/, ''))
  const strange = resources.find((name) => name !== '*' && name.split('/')[0] !== bucket)
  if (strange !== undefined) tell('check.other-bucket', { name: strange, bucket })
  if (NotResource === undefined && resources.length > 0) {
    const hasBucket = resources.some((name) => name === '*' || !name.includes('/'))
    const hasObjects = resources.some((name) => name === '*' || name.includes('/') || name.endsWith('*'))
    const ofBucket = actions.find((action) => OF_BUCKET.test(action) && !OF_OBJECTS.test(action))
    if (ofBucket !== undefined && !hasBucket) tell('check.needs-bucket', { action: ofBucket, bucket })
    const ofObjects = actions.find((action) => OF_OBJECTS.test(action))
    if (ofObjects !== undefined && !hasObjects) tell('check.needs-objects', { action: ofObjects, bucket })
  }
  const isForAll = who?.isEverybody === true && statement.Condition === undefined
  if (isForAll && Effect === 'Allow' && actions.some((action) => CHANGES.test(action)))
    tell('check.open-writes')
  if (isForAll && Effect === 'Deny' && actions.includes('s3:*')) tell('check.locks-out')
  return problems
}
