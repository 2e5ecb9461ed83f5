/**
 * Rules of buckets as JSON, with the names of S3's XML: for CORS, lifecycle and web sites. These schemas check their form;
 * what S3 asks of them beyond that is checked by the S3 API's own parsers (see handlers/bucket-rules.ts).
 */
import { z } from 'zod'

const int = z.int()
const text = z.string().max(4096)
const texts = z.array(text).max(1000)
const optionalText = text.nullable().exactOptional()
const optionalInt = int.nullable().exactOptional()

export const corsRule = z.strictObject({
  ID: optionalText,
  MaxAgeSeconds: optionalInt,
  AllowedOrigin: texts,
  AllowedMethod: texts,
  AllowedHeader: texts.exactOptional(),
  ExposeHeader: texts.exactOptional(),
})

/** Tags are beyond Garage's criteria. */
const tags = z
  .array(z.strictObject({ Key: text, Value: text }))
  .max(100)
  .exactOptional()
const criteria = {
  Prefix: optionalText,
  ObjectSizeGreaterThan: optionalInt,
  ObjectSizeLessThan: optionalInt,
  Tag: tags,
}

export const lifecycleRule = z.strictObject({
  ID: optionalText,
  Status: text,
  /** The form of older rules: a prefix without Filter. */
  Prefix: optionalText,
  Filter: z
    .strictObject({ ...criteria, And: z.strictObject(criteria).nullable().exactOptional() })
    .nullable()
    .exactOptional(),
  Expiration: z
    .strictObject({
      Days: optionalInt,
      Date: optionalText,
      ExpiredObjectDeleteMarker: z.boolean().nullable().exactOptional(),
    })
    .nullable()
    .exactOptional(),
  AbortIncompleteMultipartUpload: z.strictObject({ DaysAfterInitiation: int }).nullable().exactOptional(),
  /** Beyond Garage's actions. */
  NoncurrentVersionExpiration: z
    .strictObject({ NoncurrentDays: optionalInt, NewerNoncurrentVersions: optionalInt })
    .nullable()
    .exactOptional(),
})

export const routingRule = z.strictObject({
  Condition: z
    .strictObject({ HttpErrorCodeReturnedEquals: optionalInt, KeyPrefixEquals: optionalText })
    .nullable()
    .exactOptional(),
  Redirect: z.strictObject({
    HostName: optionalText,
    HttpRedirectCode: optionalInt,
    Protocol: optionalText,
    ReplaceKeyPrefixWith: optionalText,
    ReplaceKeyWith: optionalText,
  }),
})
