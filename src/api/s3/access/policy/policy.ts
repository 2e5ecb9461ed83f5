/**
 * Bucket policies: parsed and checked once, then asked about requests. Nothing here knows of HTTP or of the store.
 * Grammar and rules: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html and
 * …/reference_policies_evaluation-logic.html
 *
 * Other than at Amazon's:
 * - Principals are access keys, named by their ids, "arn:aws:iam:::user/KEYID" or "arn:aws:iam::KEYID:root"; that they
 *   exist is not checked. Services and federated principals are accepted and match nobody.
 * - An action that cannot be about any resource of its statement is accepted, and grants nothing.
 */
import { S3Error } from '../../errors.js'
import { EXISTING_TAG, REQUEST_LOCK, REQUEST_TAG } from './condition-keys.js'
import type { Condition, ConditionValues } from './conditions.js'
import { parseStatements, type Statement } from './parse.js'
import { isPublicStatement } from './public.js'

/** Longest policy text, in bytes. */
export const POLICY_BYTES_MAX = 20 * 1024

/** A question to a policy. */
export interface PolicyQuestion {
  /** Key id; undefined for an anonymous caller. */
  principal: string | undefined
  /** E.g. "s3:GetObject". */
  action: string
  /** Undefined when it is about the bucket itself. */
  key: string | undefined
  values: ConditionValues
}

export type PolicyVerdict = 'deny' | 'allow' | 'none'

/** A policy ready to be asked. */
export class Policy {
  readonly #statements: readonly Statement[]
  readonly #resourceOfBucket: string
  readonly #byAction = new Map<string, readonly Statement[]>()
  #isPublic: boolean | undefined

  /**
   * @param bucket the name that resources must have
   * @throws S3Error MalformedPolicy, and nothing else
   */
  constructor(text: string, bucket: string) {
    if (Buffer.byteLength(text) > POLICY_BYTES_MAX) {
      throw new S3Error('MalformedPolicy', `Policies may not be larger than ${POLICY_BYTES_MAX} bytes`)
    }
    this.#resourceOfBucket = `arn:aws:s3:::${bucket}`
    this.#statements = parseStatements(text, bucket)
  }

  /** Whether it grants something to everybody, by AWS's meaning of "public". */
  get isPublic(): boolean {
    this.#isPublic ??= this.#statements.some(isPublicStatement)
    return this.#isPublic
  }

  /** Whether the verdict on an action depends on the tags of the object. */
  needsExistingTags(action: string): boolean {
    return this.#mentions(action, EXISTING_TAG)
  }

  /** Whether the verdict on an action depends on the tags that the request sets. */
  needsRequestTags(action: string): boolean {
    return this.#mentions(action, REQUEST_TAG)
  }

  /** Whether the verdict on an action depends on the lock that the request sets. */
  needsRequestLock(action: string): boolean {
    return this.#mentions(action, REQUEST_LOCK)
  }

  /** An explicit deny counts more than any allow. */
  evaluate(question: PolicyQuestion): PolicyVerdict {
    const statements = this.#about(question.action)
    if (statements.length === 0) return 'none'
    const resource =
      question.key === undefined ? this.#resourceOfBucket : `${this.#resourceOfBucket}/${question.key}`
    const variables = (name: string) => {
      const values = question.values(name)
      return values?.length === 1 ? values[0] : undefined
    }
    let verdict: PolicyVerdict = 'none'
    for (const { effect, principals, resources, conditions } of statements) {
      if (effect === 'Allow' && verdict === 'allow') continue
      if (!principals.includes(question.principal)) continue
      const named = resources.patterns.some((pattern) => pattern.matches(resource, variables))
      if (named === resources.negated) continue
      if (!conditions.every((condition: Condition) => condition.holds(question.values, variables))) continue
      if (effect === 'Deny') return 'deny'
      verdict = 'allow'
    }
    return verdict
  }

  /** Whether any statement allows the action to that principal, on some resource and condition. */
  mayAllow(action: string, principal: string | undefined): boolean {
    return this.#about(action).some(
      ({ effect, principals }) => effect === 'Allow' && principals.includes(principal),
    )
  }

  #about(action: string): readonly Statement[] {
    let statements = this.#byAction.get(action)
    if (!statements) {
      statements = this.#statements.filter(
        ({ actions }) => actions.matches.some((matches) => matches(action)) !== actions.negated,
      )
      this.#byAction.set(action, statements)
    }
    return statements
  }

  #mentions(action: string, prefix: string): boolean {
    return this.#about(action).some((statement) => statement.mentions.some((name) => name.startsWith(prefix)))
  }
}
