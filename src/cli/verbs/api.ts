import type { Command } from 'commander'
import { type Context, leaf } from '../command-line.js'
import { jsonApi } from '../commands/json-api.js'

/** `json-api` and `admin-api-schema`. */
export function registerApiVerbs(program: Command, context: Context): void {
  leaf(program, 'json-api', 'call an endpoint of the admin API, and print its JSON')
    .argument('<endpoint>', 'name of the endpoint, such as GetClusterStatus')
    .argument('[payload]', 'its arguments as JSON, or - to read them from stdin')
    .action(
      context.live<[string, string | undefined, object]>((admin, io, _, endpoint, payload) =>
        jsonApi(admin, io, endpoint, payload),
      ),
    )
  leaf(program, 'admin-api-schema', 'print the OpenAPI document of the admin API').action(
    context.local<[object]>(async (io) => {
      const { openApiText } = await import('../../api/admin/http/openapi.js')
      io.out(openApiText())
    }),
  )
}
