import { formatHostPort } from '../../config/values.js'
import { type GlobalFlags, readSettings } from '../config-source.js'
import type { CliIo } from '../io.js'

/** `node id`: works without a running server. A hint how to use the id goes to stderr, unless `quiet`. */
export function printNodeId(io: CliIo, flags: GlobalFlags, quiet: boolean): void {
  const settings = readSettings(io, flags)
  const id = io.createNodeId(settings.metadataDir)
  const { publicAddr, bindAddr } = settings.rpc
  const known = publicAddr === null ? null : formatHostPort(publicAddr)
  const full = known === null ? id : `${id}@${known}`
  io.out(flags.json ? JSON.stringify({ id, addr: known }, null, 2) : full)
  if (quiet || flags.json) return
  const peer = `${id}@${known ?? `<address of this node>:${bindAddr.port}`}`
  io.err(
    [
      '',
      ...(known === null
        ? ["rpc_public_addr is not set: put this node's address in its place below.", '']
        : []),
      'To connect another node to this one, run there:',
      `    carport node connect ${peer}`,
      '',
      'Or name it in the configuration of the other nodes:',
      `    bootstrap_peers = ["${peer}"]`,
      '',
      'Who knows rpc_secret and such an id can join: keep both to yourself.',
    ].join('\n'),
  )
}
