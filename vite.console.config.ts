import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { brotliCompressSync } from 'node:zlib'
import { defineConfig, type Plugin } from 'vite'
import solid from 'vite-plugin-solid'

/** Writes each file compressed beside itself, so that no node compresses while it serves. */
function compressed(): Plugin {
  let folder: string
  return {
    name: 'compressed',
    configResolved({ root, build }) {
      folder = resolve(root, build.outDir)
    },
    closeBundle() {
      for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
        const path = join(folder, name)
        if (!/\.(html|js|css|svg)$/.test(name) || statSync(path).size < 1024) continue
        writeFileSync(`${path}.br`, brotliCompressSync(readFileSync(path)))
      }
    },
  }
}

/** Builds the console (src/console) into the package. */
export default defineConfig({
  root: 'src/console',
  base: '/console/',
  plugins: [solid(), compressed()],
  build: {
    outDir: join(import.meta.dirname, 'dist/console'),
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    // On a slow machine that is the first thing one would read of Carport.
    rolldownOptions: { checks: { pluginTimings: false } },
  },
})
