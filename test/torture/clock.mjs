// Loaded into a node's process before its program: its wall clock is off by as many ms as the file that TORTURE_CLOCK names says.
import { readFileSync } from 'node:fs'

const now = Date.now.bind(Date)
let offMs = 0

setInterval(() => {
  try {
    offMs = Number(readFileSync(process.env.TORTURE_CLOCK, 'utf8')) || 0
  } catch {
    offMs = 0
  }
}, 50).unref()

Date.now = () => now() + offMs
