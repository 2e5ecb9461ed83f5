/** Rules as forms have them, where S3 writes the same in several ways. */
import { type Fields, isEmpty, isFields, textsOf, type Value } from './values'

/** A lifecycle rule with all its criteria in Filter, however many there are. */
export function lifecycleFields(rule: Fields): Fields {
  const { Filter, Prefix, ...rest } = rule
  const { And, ...criteria } = isFields(Filter) ? Filter : {}
  const old: Fields = Prefix === undefined || Prefix === '' ? {} : { Prefix }
  return { ...rest, Filter: { ...old, ...criteria, ...(isFields(And) ? And : {}) } }
}

/** The same as S3 wants it: several criteria stand in And, and a rule for all objects has an empty Filter. */
export function lifecycleValue(fields: Fields): Fields {
  const criteria = Object.entries(isFields(fields.Filter) ? fields.Filter : {}).filter(
    ([, value]) => !isEmpty(value),
  )
  const all = Object.fromEntries(criteria)
  const { Tag: tags } = all
  const count = criteria.length - (tags === undefined ? 0 : 1) + (Array.isArray(tags) ? tags.length : 0)
  return { ...fields, Filter: count > 1 ? { And: all } : all }
}

const KINDS = ['Queue', 'Topic'] as const

/** The rules of both kinds of targets, which mean the same here, with the filter's two values as fields. */
export function notificationFields(value: Value | undefined): Fields[] {
  return KINDS.flatMap((kind) => {
    const rules = isFields(value) ? value[`${kind}Configuration`] : undefined
    return (Array.isArray(rules) ? rules : []).filter(isFields).map((rule) => {
      const { [kind]: target = '', Filter, ...rest } = rule
      const key = isFields(Filter) && isFields(Filter.S3Key) ? Filter.S3Key.FilterRule : undefined
      const filters = (Array.isArray(key) ? key : []).filter(isFields)
      const named = filters.map(({ Name, Value }) => [String(Name).toLowerCase(), Value ?? ''] as const)
      return { Target: target, ...rest, ...Object.fromEntries(named) }
    })
  })
}

export function notificationValue(rules: Fields[], before: Value | undefined): Value {
  const { QueueConfiguration: _, TopicConfiguration: __, ...others } = isFields(before) ? before : {}
  const made: Fields = { ...others }
  for (const { Target = '', prefix, suffix, ...rest } of rules) {
    const kind = /^arn:[^:]*:sns:/.test(String(Target)) ? 'Topic' : 'Queue'
    const filters = Object.entries({ prefix, suffix }).filter(([, value]) => !isEmpty(value))
    const rule: Fields = {
      ...{ ...rest, [kind]: Target },
      ...(filters.length > 0 && {
        Filter: { S3Key: { FilterRule: filters.map(([Name, Value]) => ({ Name, Value: Value! })) } },
      }),
    }
    const list = `${kind}Configuration`
    made[list] = [...((made[list] as Value[] | undefined) ?? []), rule]
  }
  return made
}

/** The statements of a policy. */
export function policyFields(value: Value | undefined): Fields[] {
  const statements = isFields(value) ? value.Statement : undefined
  return (Array.isArray(statements) ? statements : [statements]).filter(isFields)
}

export function policyValue(statements: Fields[], before: Value | undefined): Value {
  return { Version: '2012-10-17', ...(isFields(before) ? before : {}), Statement: statements }
}

/** Groups of actions with a name of their own; all others are told by their names. */
export const ACTION_GROUPS = {
  read: 's3:GetObject',
  list: 's3:ListBucket',
  write: 's3:PutObject',
  delete: 's3:DeleteObject',
  everything: 's3:*',
} as const

/** One text alone, as policies have it; several as a list. */
export function oneOrList(texts: readonly string[]): Value | undefined {
  return texts.length === 1 ? texts[0]! : texts.length === 0 ? undefined : [...texts]
}

/** Who a principal is, if that is everybody or some keys; undefined for all else, which a form leaves as it is. */
export function principalOf(value: Value | undefined): { isEverybody: boolean; keys: string[] } | undefined {
  if (value === undefined) return { isEverybody: false, keys: [] }
  if (value === '*') return { isEverybody: true, keys: [] }
  if (!isFields(value) || Object.keys(value).some((name) => name !== 'AWS')) return undefined
  const keys = textsOf(value.AWS)
  return keys.includes('*') ? { isEverybody: true, keys: [] } : { isEverybody: false, keys }
}
