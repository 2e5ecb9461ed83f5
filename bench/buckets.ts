import { RawS3, type Target } from './load/raw-s3.js'

/** Makes a bucket unless it exists. @throws Error in one line that names the store and the reason */
export async function createBucket(name: string, target: Target, bucket: string): Promise<void> {
  const s3 = new RawS3(target, 1)
  try {
    await s3.request('PUT', `/${bucket}`, { headers: { 'content-length': 0 } })
  } catch (error) {
    const reason = reasonOf(error)
    if (!/BucketAlreadyOwnedByYou|BucketAlreadyExists/.test(reason)) {
      throw new Error(`${name} (${target.endpoint}): ${reason}`)
    }
  } finally {
    s3.close()
  }
}

/** Makes one signed request, so that a wrong address or key fails before anything is measured. @throws Error */
export async function checkAccess(name: string, target: Target): Promise<void> {
  const s3 = new RawS3(target, 1)
  try {
    await s3.request('GET', '/')
  } catch (error) {
    throw new Error(`${name} (${target.endpoint}): ${reasonOf(error)}`)
  } finally {
    s3.close()
  }
}

function reasonOf(error: unknown): string {
  const { code, message, errors } = error as { code?: string; message?: string; errors?: Error[] }
  if (code === 'ECONNREFUSED') return 'nothing listens there'
  return message || errors?.[0]?.message || code || String(error)
}
