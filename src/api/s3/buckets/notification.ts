import { EVENT_NAMES, type EventRule } from '../../../model/events/rules.js'
import type { XmlElement } from '../../xml/reader.js'
import { xmlElement, xmlText } from '../../xml/writer.js'
import { xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { invalidArgument, S3Error } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'
import { configurationBody, configuredBucket } from './configuration.js'

const RULES_MAX = 100
const ID_LENGTH_MAX = 255
const FILTER_BYTES_MAX = 1024
/** The events that a rule may name: those that are sent, and each kind as a whole. */
const EVENTS = new Set(
  EVENT_NAMES.flatMap((name) => [`s3:${name}`, `s3:${name.slice(0, name.indexOf(':'))}:*`]),
)
/**
 * A target is named by arn:carport:sqs::NAME:KIND. MinIO's form of ARNs is accepted as well, since clients that were written
 * for it send that.
 */
const ARN = /^arn:(?:carport|minio):(?:sqs|sns):[^:]*:([^:]+):([^:]+)$/

/** The names of the elements for each form of a rule. */
const FORMS = {
  queue: { element: 'QueueConfiguration', arn: 'Queue' },
  topic: { element: 'TopicConfiguration', arn: 'Topic' },
} as const

/**
 * Reads a NotificationConfiguration. Without any rule it turns notifications off.
 * @param targets the targets in the node's configuration
 * @param newId makes ids for rules that have none
 * @throws S3Error MalformedXML, InvalidArgument; NotImplemented for Lambda functions and EventBridge
 */
export function parseNotification(
  root: XmlElement,
  targets: readonly { name: string; kind: string }[],
  newId: () => string,
): EventRule[] {
  root.only(
    FORMS.queue.element,
    FORMS.topic.element,
    'CloudFunctionConfiguration',
    'LambdaFunctionConfiguration',
    'EventBridgeConfiguration',
  )
  const rules: EventRule[] = []
  for (const element of root.children) {
    const form = (['queue', 'topic'] as const).find((name) => FORMS[name].element === element.name)
    if (!form) {
      throw new S3Error('NotImplemented', `${element.name} is not offered: use a QueueConfiguration.`)
    }
    const rule = parseRule(element, form, targets, newId)
    if (rules.some(({ id }) => id === rule.id)) {
      throw invalidArgument('Same ID used for multiple configurations. IDs must be unique', 'Id', rule.id)
    }
    rules.push(rule)
  }
  if (rules.length > RULES_MAX) {
    throw invalidArgument(`A bucket has at most ${RULES_MAX} notification configurations.`, 'Id')
  }
  return rules
}

function parseRule(
  element: XmlElement,
  form: EventRule['form'],
  targets: readonly { name: string; kind: string }[],
  newId: () => string,
): EventRule {
  element.only('Id', 'Filter', 'Event', FORMS[form].arn)
  const id = element.text('Id')
  if (id !== undefined && id.length > ID_LENGTH_MAX) {
    throw invalidArgument(`An Id has at most ${ID_LENGTH_MAX} characters.`, 'Id', id)
  }
  const arn = element.needText(FORMS[form].arn).trim()
  const [, name, kind] = ARN.exec(arn) ?? []
  if (!targets.some((target) => target.name === name && target.kind === kind)) {
    throw invalidArgument(
      'Unable to validate the following destination configurations',
      arn,
      'The destination does not exist',
    )
  }
  const events = element.all('Event').map((event) => event.content.trim())
  if (events.length === 0) throw new S3Error('MalformedXML')
  for (const event of events) {
    if (!EVENTS.has(event))
      throw invalidArgument('The event is not supported for notifications', 'Event', event)
  }
  return {
    id: id === undefined || id === '' ? newId() : id,
    ...{ arn, form, target: name!, events },
    ...parseFilter(element.child('Filter')),
  }
}

function parseFilter(filter: XmlElement | undefined): { prefix?: string; suffix?: string } {
  const found: { prefix?: string; suffix?: string } = {}
  for (const rule of filter?.only('S3Key').child('S3Key')?.only('FilterRule').all('FilterRule') ?? []) {
    const name = rule.only('Name', 'Value').needText('Name').trim().toLowerCase()
    if (name !== 'prefix' && name !== 'suffix') {
      throw invalidArgument('filter rule name must be either prefix or suffix', 'FilterRule.Name', name)
    }
    if (found[name] !== undefined) {
      throw invalidArgument(`Cannot specify more than one ${name} rule in a filter.`, 'FilterRule.Name', name)
    }
    const value = rule.text('Value') ?? ''
    if (Buffer.byteLength(value) > FILTER_BYTES_MAX) {
      throw invalidArgument(`Size of filter rule value cannot exceed ${FILTER_BYTES_MAX} bytes`, name, value)
    }
    found[name] = value
  }
  return found
}

/** The content of a NotificationConfiguration. */
export function notificationXml(rules: readonly EventRule[]): string {
  return rules
    .map(({ id, arn, form, events, prefix, suffix }) => {
      const filterRules = [
        ['prefix', prefix],
        ['suffix', suffix],
      ].flatMap(([name, value]) =>
        value === undefined
          ? []
          : [xmlElement('FilterRule', xmlText('Name', name) + xmlText('Value', value))],
      )
      return xmlElement(
        FORMS[form].element,
        xmlText('Id', id) +
          xmlText(FORMS[form].arn, arn) +
          events.map((event) => xmlText('Event', event)).join('') +
          (filterRules.length > 0 ? xmlElement('Filter', xmlElement('S3Key', filterRules.join(''))) : ''),
      )
    })
    .join('')
}

const BODY_BYTES_MAX = 1024 * 1024
/** Random bytes in the id of a rule that comes without one. */
const ID_BYTES = 16

/** PutBucketNotificationConfiguration; one without rules turns notifications off. */
export async function putBucketNotification(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model, random } = context
  const bucket = await configuredBucket(context, request, 's3:PutBucketNotification')
  const body = await configurationBody(request, 'NotificationConfiguration', BODY_BYTES_MAX)
  const rules = parseNotification(body, model.events.targets, () => random.bytes(ID_BYTES).toString('hex'))
  await model.buckets.setDocument(bucket, 'notification', rules.length > 0 ? rules : undefined)
  return { status: 200 }
}

/** GetBucketNotificationConfiguration: empty if there are none. */
export async function getBucketNotification(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:GetBucketNotification')
  return xmlResponse('NotificationConfiguration', notificationXml(bucket.document('notification') ?? []))
}
