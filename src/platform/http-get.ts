import type { HttpGet } from '../api/sts/discovery.js'
import { exchange } from './http-call.js'

/** Fetches the documents of identity providers. */
export const systemHttpGet: HttpGet = (url, { timeoutMs, bytesMax }) =>
  exchange(url, { method: 'GET', headers: { accept: 'application/json' }, timeoutMs, bytesMax })
