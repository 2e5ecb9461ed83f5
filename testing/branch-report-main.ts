/** Writes what no seed of `npm run sim -- --coverage` reached, and tells how much that is. */
import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { report } from './branch-report.js'

const FILE = 'dist/sim/unreached.md'

const text = report('dist/sim/coverage', resolve('dist/sim/src'), 'src')
writeFileSync(FILE, text)
console.log(text.split('\n### ')[0])
console.log(`Each line that was not reached: ${FILE}`)
