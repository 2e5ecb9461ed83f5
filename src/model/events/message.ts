import type { ObjectEvent } from './rules.js'

/** Where the messages of a target say that they come from. */
export interface EventSource {
  region: string
  /** The bucket's name, as clients know it. */
  bucketName: string
  bucketOwner: string
  /** Id of the configuration that asked for the event. */
  configurationId: string
  /** Unique for event and target, so that a receiver can tell a message that came twice. */
  requestId: string
  hostId: string
}

/**
 * The message of an event, JSON in AWS's form ("Event message structure", version 2.1). The address of the client is not
 * known to who sends the message; it is empty.
 */
export function eventMessage(event: ObjectEvent, source: EventSource): string {
  const { key, size, etag, isNull, versionId } = event
  return JSON.stringify({
    Records: [
      {
        eventVersion: '2.1',
        eventSource: 'aws:s3',
        awsRegion: source.region,
        eventTime: new Date(Math.floor(event.timeUs / 1000)).toISOString(),
        eventName: event.name,
        userIdentity: { principalId: event.owner },
        requestParameters: { sourceIPAddress: '' },
        responseElements: { 'x-amz-request-id': source.requestId, 'x-amz-id-2': source.hostId },
        s3: {
          s3SchemaVersion: '1.0',
          configurationId: source.configurationId,
          bucket: {
            name: source.bucketName,
            ownerIdentity: { principalId: source.bucketOwner },
            arn: `arn:aws:s3:::${source.bucketName}`,
          },
          object: {
            key: formEncoded(key.toString()),
            ...(size !== undefined && { size }),
            ...(etag !== undefined && { eTag: etag }),
            ...(!isNull && { versionId: versionId.toString('hex') }),
            sequencer: sequencer(event),
          },
        },
      },
    ],
  })
}

/** Grows with each change of a key; to be compared as text of equal length. */
function sequencer({ timeUs, generation }: ObjectEvent): string {
  return (timeUs.toString(16).padStart(14, '0') + generation.toString(16).padStart(4, '0')).toUpperCase()
}

/** As AWS encodes keys in events: like a form's values, but slashes stay. */
function formEncoded(key: string): string {
  return new URLSearchParams({ k: key }).toString().slice(2).replace(/%2F/g, '/')
}
