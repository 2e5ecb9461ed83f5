import { For, Show } from 'solid-js'
import type { Value } from '../../forms/values'
import { type TextName, t } from '../../texts/texts'
import { policyChecks } from './policy-checks'

interface Statement {
  readonly Effect?: unknown
  readonly Principal?: unknown
  readonly NotPrincipal?: unknown
  readonly Action?: unknown
  readonly NotAction?: unknown
  readonly Resource?: unknown
  readonly NotResource?: unknown
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

/** Actions that have words of their own; others are told by their names. */
const ACTIONS: Readonly<Record<string, TextName>> = {
  's3:*': 'policy.everything',
  's3:BypassGovernanceRetention': 'policy.word-bypass',
  's3:DeleteObjectVersion': 'policy.word-delete-version',
  's3:GetBucketLocation': 'policy.word-location',
  's3:GetObject*': 'policy.word-read-all',
  's3:GetObjectTagging': 'policy.word-tags',
  's3:GetObjectVersion': 'policy.word-read-version',
  's3:ListBucketMultipartUploads': 'policy.word-uploads',
  's3:ListBucketVersions': 'policy.word-list-versions',
  's3:PutObjectTagging': 'policy.word-set-tags',
  's3:AbortMultipartUpload': 'policy.word-abort',
  's3:DeleteObject': 'policy.delete',
  's3:GetObject': 'policy.read',
  's3:ListBucket': 'policy.list',
  's3:PutObject': 'policy.write',
}

/** What a policy allows and denies, statement by statement, in plain words; and what is wrong with it, as far as the page can tell. */
export function PolicyWords(props: { text: string; bucket: string }) {
  const told = () => {
    try {
      const checks = policyChecks(JSON.parse(props.text) as Value, props.bucket)
      return { words: wordsOf(props.text), checks }
    } catch (error) {
      return { problem: (error as Error).message }
    }
  }
  return (
    <section class="note" aria-label={t('policy.words')} aria-live="polite">
      <Show when={told().problem}>{(problem) => <p>{t('policy.unclear', { problem: problem() })}</p>}</Show>
      <ul>
        <For each={told().words}>{(words) => <li>{words}</li>}</For>
      </ul>
      <Show when={(told().checks?.length ?? 0) > 0}>
        <ul class="checks-found" aria-label={t('check.list')}>
          <For each={told().checks}>{(problem) => <li>{problem}</li>}</For>
        </ul>
      </Show>
    </section>
  )
}

function wordsOf(text: string): string[] {
  const { Statement } = JSON.parse(text) as { Statement?: Statement | Statement[] }
  const statements = Statement === undefined ? [] : [Statement].flat()
  return statements.map((statement) => {
    const who = statement.NotPrincipal
      ? t('policy.but', { what: principals(statement.NotPrincipal) })
      : principals(statement.Principal)
    const actions = statement.NotAction
      ? t('policy.all-but', { what: list(statement.NotAction).map(actionWords).join(', ') })
      : list(statement.Action).map(actionWords).join(', ')
    const where = statement.NotResource
      ? t('policy.all-but', { what: resources(statement.NotResource) })
      : resources(statement.Resource)
    const name = statement.Effect === 'Deny' ? 'policy.deny' : 'policy.allow'
    return t(name, { who, what: actions, where }) + conditionWords(statement.Condition)
  })
}

function list(value: unknown): string[] {
  return value === undefined ? [] : [value].flat().map(String)
}

function principals(value: unknown): string {
  const named = typeof value === 'object' && value !== null ? Object.values(value).flatMap(list) : list(value)
  if (named.includes('*')) return t('policy.anybody')
  return named.map((name) => name.replace(/^arn:[^:]*:iam::[^:]*:(user\/)?/, '')).join(', ')
}

function actionWords(action: string): string {
  const name = ACTIONS[action]
  return name ? t(name) : action
}

function resources(value: unknown): string {
  return list(value)
    .map((name) => name.replace(/^arn:[^:]*:s3:::/, ''))
    .join(', ')
}

function conditionWords(condition: Statement['Condition'] = {}): string {
  const parts = Object.entries(condition).flatMap(([operator, keys]) =>
    Object.entries(keys).map(([key, values]) => `${key} ${operator} ${list(values).join(', ')}`),
  )
  return parts.length === 0 ? '' : ` ${t('policy.if', { conditions: parts.join('; ') })}`
}
