import { clearScreenDown, moveCursor } from 'node:readline'
import type { WriteStream } from 'node:tty'

/** Lines at the bottom of a terminal that are drawn again and again. */
export interface Terminal {
  /** Replaces the lines that were drawn last. Each is cut to the width of the terminal. */
  redraw(lines: readonly string[]): void
  /** Leaves the lines where they are; what is written next comes below them. */
  keep(): void
}

/** A stream's terminal; undefined if it is none, or one that cannot move its cursor. */
export function terminalOf(
  stream: WriteStream,
  env: Readonly<Record<string, string | undefined>>,
): Terminal | undefined {
  if (!stream.isTTY || env.TERM === 'dumb') return undefined
  let drawn = 0
  return {
    redraw(lines) {
      // A line as long as the terminal is wide would wrap, and a screen that is full would scroll.
      const columns = Math.max(1, (stream.columns || 80) - 1)
      const shown = lines.slice(0, Math.max(1, (stream.rows || 24) - 1))
      moveCursor(stream, 0, -drawn)
      clearScreenDown(stream)
      stream.write(shown.map((line) => `${[...line].slice(0, columns).join('')}\n`).join(''))
      drawn = shown.length
    },
    keep() {
      drawn = 0
    },
  }
}
