import { resolveSecret, type SecretContext } from './secrets.js'
import {
  type Findings,
  filePath,
  optional,
  parseChoice,
  parseText,
  readSection,
  required,
  type SectionSpec,
} from './section.js'
import { show, ValueError } from './values.js'

/** A target for the event notifications of buckets. */
export interface NotificationTarget {
  /** Its name in the configuration and in the ARN. */
  name: string
  type: 'webhook' | 'nats' | 'redis'
  /** Without user and password. */
  url: string
  user: string | null
  /** webhook: key of the signature of each message; nats: token, or password of `user`; redis: password. */
  secret: string | null
  /** For nats: the subject to which messages are published. */
  subject: string
  /** For redis: the list to which messages are pushed. */
  list: string
}

const SCHEMES: Record<NotificationTarget['type'], readonly string[]> = {
  webhook: ['http:', 'https:'],
  nats: ['nats:', 'tls:'],
  redis: ['redis:', 'rediss:'],
}

/** The keys of [notifications.NAME]. */
export const NOTIFICATION_TARGET = {
  type: required(
    parseChoice(['webhook', 'nats', 'redis'], {
      kafka: 'is "kafka", which is not offered',
      amqp: 'is "amqp", which is not offered',
    }),
  ),
  url: required(parseTargetUrl),
  user: optional(parseText('the name of a user'), null),
  secret: optional(parseText('a text'), null),
  secret_file: optional(filePath, null),
  subject: optional(parseSubject, null),
  list: optional(parseText('the name of a list'), null),
} satisfies SectionSpec

/**
 * Reads the section [notifications]. Problems go to `findings`; the result is complete only if there are none.
 * @param table undefined or null without the section
 */
export function readNotifications(
  table: Record<string, unknown> | null | undefined,
  context: SecretContext,
  findings: Findings,
): NotificationTarget[] {
  const targets: NotificationTarget[] = []
  for (const [name, section] of Object.entries(table ?? {})) {
    const key = `notifications.${name}`
    if (
      typeof section !== 'object' ||
      section === null ||
      Array.isArray(section) ||
      section instanceof Date
    ) {
      findings.problem(key, `is ${show(section)}, expected a section [notifications.NAME]`)
      continue
    }
    // The name is part of ARNs.
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) {
      findings.problem(key, 'has a name that is not offered, expected up to 64 letters, digits, "-" and "_"')
    }
    const values = readSection(NOTIFICATION_TARGET, section as Record<string, unknown>, `${key}.`, findings)
    const { type, url } = values
    if (type === undefined || url === undefined) continue
    if (!SCHEMES[type].includes(new URL(url).protocol)) {
      const expected = SCHEMES[type].map((scheme) => `${scheme}//`).join(' or ')
      findings.problem(`${key}.url`, `is ${show(url)}, expected a URL that starts with ${expected}`)
    }
    if (values.subject != null && type !== 'nats')
      findings.problem(`${key}.subject`, 'is a key of type "nats" alone')
    if (values.list != null && type !== 'redis')
      findings.problem(`${key}.list`, 'is a key of type "redis" alone')
    if (values.user != null && type === 'webhook')
      findings.problem(`${key}.user`, 'is no key of type "webhook"')
    const secret = resolveSecret(
      {
        key: `${key}.secret`,
        envName: `NOTIFICATIONS_${name.toUpperCase().replace(/-/g, '_')}_SECRET`,
        inline: values.secret,
        file: values.secret_file,
      },
      context,
      findings,
    )
    targets.push({
      ...{ name, type, url, secret },
      user: values.user ?? null,
      subject: values.subject ?? 'carport.events',
      list: values.list ?? 'carport:events',
    })
  }
  return targets
}

function parseTargetUrl(value: unknown): string {
  const expected =
    'a URL such as "https://example.org/hook", "nats://localhost:4222" or "redis://localhost:6379"'
  if (typeof value !== 'string' || !URL.canParse(value) || new URL(value).host === '') {
    throw new ValueError(`is ${show(value)}`, expected)
  }
  const url = new URL(value)
  if (url.username !== '' || url.password !== '') {
    throw new ValueError('has a user or a password in it', 'the keys user and secret for these')
  }
  return value
}

function parseSubject(value: unknown): string {
  if (typeof value !== 'string' || !/^[^\s.*>]+(\.[^\s.*>]+)*$/.test(value)) {
    throw new ValueError(`is ${show(value)}`, 'a subject of NATS without wildcards, such as "carport.events"')
  }
  return value
}
