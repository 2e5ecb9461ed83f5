import type { MultiResponse } from '../api/admin/types.js'
import { CliError, type Output } from './admin-client.js'
import { shortId, table } from './format.js'

/** One or several rows per node, errors included; fails after printing them if a node failed. */
export function perNode<T>(
  response: MultiResponse<T>,
  rowsOf: (id: string, answer: T) => string[][],
): Output {
  const errors = Object.entries(response.error)
  const output: Output = {
    json: response,
    text: table([
      ...Object.entries(response.success).flatMap(([id, answer]) => rowsOf(id, answer)),
      ...errors.map(([id, error]) => [shortId(id), `Error: ${error}`]),
    ]),
  }
  if (errors.length > 0) throw new CliError(`${errors.length} of the nodes failed, see above`, output)
  return output
}
