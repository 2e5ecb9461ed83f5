import { CarportError } from '../util/errors.js'

/** lmdb-js rejects a failed commit with a generic error that promises the cause. */
export async function translateCommit(error: unknown): Promise<unknown> {
  const pending = (error as { commitError?: Promise<never> } | undefined)?.commitError
  if (pending === undefined) return translate(error)
  return pending.then(
    () => translate(error),
    (cause) => translate(cause),
  )
}

const FULL_CODES = new Set<unknown>([
  'ENOSPC',
  'EDQUOT',
  'EFBIG',
  28 /* ENOSPC */,
  122 /* EDQUOT */,
  27 /* EFBIG */,
  -30792 /* MDB_MAP_FULL */,
])
const CORRUPTED_CODES = new Set<unknown>([
  -30797 /* MDB_PAGE_NOTFOUND */, -30796 /* MDB_CORRUPTED */, -30794 /* MDB_VERSION_MISMATCH */,
  -30793 /* MDB_INVALID */,
])

/** Turns errors of LMDB and of the file system under it into CarportErrors where a caller can do something about them. */
export function translate(error: unknown): unknown {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: string }
  if (FULL_CODES.has(code) || /no space left|quota exceeded|MDB_MAP_FULL/i.test(message ?? '')) {
    return new CarportError('StorageFull', 'the disk of the metadata is full', { cause: error })
  }
  if (CORRUPTED_CODES.has(code)) {
    return new CarportError('Corrupted', `the metadata store is damaged: ${message}`, { cause: error })
  }
  return error
}
