import type { z } from 'zod'
import type { OperationArgs, OperationName } from './operation-schemas.js'
import type { resultSchemas } from './result-schemas.js'

/** The RPC method that serves administration: body {operation, args}, reply {result}. */
export const ADMIN_CALL_METHOD = 'admin/call'

export interface AdminCall {
  operation: string
  args: unknown
}

/** The result of an operation (see result-schemas.ts); its arguments are in operation-schemas.ts. */
export type OperationResult<N extends OperationName> = z.infer<(typeof resultSchemas)[N]>

/** Handlers of all operations. A handler gets arguments that were checked against `operationSchemas`. */
export type AdminHandlers = {
  [N in OperationName]: (args: OperationArgs<N>) => Promise<OperationResult<N>>
}
