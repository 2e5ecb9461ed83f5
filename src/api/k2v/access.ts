import type { Bucket } from '../../model/buckets/buckets.js'
import type { Model } from '../../model/model.js'
import { confirmDenial } from '../s3/access/authorize.js'
import { S3Error } from '../s3/errors.js'
import type { K2vRequest } from './request.js'
import { K2V_OPERATIONS, type Route } from './router.js'

/**
 * The bucket of a request, if the key that signed it may do what it asks for: by the key's own permissions alone, as in
 * Garage. Bucket policies and lists of access are about S3; so are the policies of temporary credentials, which therefore
 * allow nothing here.
 * @throws S3Error AccessDenied, NoSuchBucket
 */
export function authorize(
  model: Model,
  request: K2vRequest,
  { bucket: name, operation }: Route,
): Bucket | Promise<Bucket> {
  const { auth } = request
  if (auth.kind !== 'key') throw new S3Error('AccessDenied', 'Requests to K2V must be signed.')
  if (auth.session?.policy !== undefined) {
    throw new S3Error('AccessDenied', 'The policy of the session does not allow this.')
  }
  return confirmDenial(model, () => {
    const caller = model.keys.local(auth.keyId)
    const check = (bucket: Bucket | undefined) => {
      if (!bucket) throw new S3Error('NoSuchBucket')
      if (caller?.permissions.get(bucket.hexId)?.[K2V_OPERATIONS[operation!]]) return bucket
      throw new S3Error('AccessDenied', 'Operation is not allowed for this key.')
    }
    const found = model.buckets.find(name, caller)
    return found instanceof Promise ? found.then(check) : check(found)
  })
}
