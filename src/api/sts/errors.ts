import { AnswerError } from '../../util/errors.js'
import { escapeXml } from '../xml/writer.js'

/** The namespace of STS's documents. */
export const STS_XMLNS = 'https://sts.amazonaws.com/doc/2011-06-15/'

/** Codes and statuses of the AWS STS API reference: AssumeRoleWithWebIdentity and "Common errors". */
const STS_ERROR_CODES = {
  AccessDenied: [403, 'Not authorized to perform sts:AssumeRoleWithWebIdentity'],
  ExpiredTokenException: [400, 'The web identity token that was passed is expired.'],
  IDPCommunicationError: [
    400,
    'The identity provider could not be reached to verify the token. Try again later.',
  ],
  InternalFailure: [500, 'The request processing has failed because of an unknown error.'],
  InvalidAction: [400, 'The action is not offered.'],
  InvalidIdentityToken: [400, 'The web identity token that was passed could not be validated.'],
  InvalidParameterValue: [400, 'A parameter has a value that is not valid.'],
  MalformedPolicyDocument: [400, 'The policy document is malformed.'],
  PackedPolicyTooLarge: [400, 'The policy is too large.'],
  ValidationError: [400, 'The input does not satisfy the constraints.'],
} as const satisfies Record<string, readonly [status: number, message: string]>

export type StsErrorCode = keyof typeof STS_ERROR_CODES

/** An answer of the STS API that is an error. The message reaches the client. */
export class StsError extends AnswerError {
  override readonly name = 'StsError'
  readonly status: number

  constructor(
    readonly code: StsErrorCode,
    message?: string,
    options?: { cause?: unknown },
  ) {
    super(message ?? STS_ERROR_CODES[code][1], options)
    this.status = STS_ERROR_CODES[code][0]
  }
}

/** The XML body of an error answer. */
export function stsErrorXml(error: StsError, requestId: string): string {
  return (
    `<?xml version="1.0" encoding="UTF-8"?>\n<ErrorResponse xmlns="${STS_XMLNS}">` +
    `<Error><Type>${error.status < 500 ? 'Sender' : 'Receiver'}</Type><Code>${error.code}</Code>` +
    `<Message>${escapeXml(error.message)}</Message></Error>` +
    `<RequestId>${requestId}</RequestId></ErrorResponse>`
  )
}
