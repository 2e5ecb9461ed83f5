import { emitKeypressEvents, type Key } from 'node:readline'
import type { ReadStream, WriteStream } from 'node:tty'

/** A terminal as a whole screen, with its keyboard. */
export interface Screen {
  readonly columns: number
  readonly rows: number
  /** Shows these lines, and nothing else. Lines are cut to the width, and to as many as there are rows. */
  draw(lines: readonly string[]): void
  /** The next key that is pressed, such as "q" or "ctrl-c"; undefined if none was within that time. */
  nextKey(timeoutMs: number): Promise<string | undefined>
  /** Gives the terminal back as it was. */
  close(): void
}

const ENTER = '\x1b[?1049h\x1b[?25l'
const LEAVE = '\x1b[?25h\x1b[?1049l'
const HOME = '\x1b[H'
const CLEAR_LINE = '\x1b[K'
const CLEAR_BELOW = '\x1b[J'

/** Takes the terminal; undefined where input or output is none, or one that cannot move its cursor. */
export function openScreen(
  input: ReadStream,
  output: WriteStream,
  env: Readonly<Record<string, string | undefined>>,
): Screen | undefined {
  if (!input.isTTY || !output.isTTY || env.TERM === 'dumb') return undefined
  const pressed: string[] = []
  let wake: (() => void) | undefined
  const onKey = (text: string | undefined, key: Key) => {
    pressed.push(key.ctrl ? `ctrl-${key.name}` : (text ?? key.name ?? ''))
    wake?.()
  }
  emitKeypressEvents(input)
  input.setRawMode(true)
  input.on('keypress', onKey)
  input.resume()
  output.write(ENTER)
  // Whatever ends the program, the terminal must not stay in this mode.
  const leave = () => output.write(LEAVE)
  process.once('exit', leave)
  return {
    get columns() {
      return output.columns || 80
    },
    get rows() {
      return output.rows || 24
    },
    draw(lines) {
      const cut = lines.slice(0, this.rows).map((line) => [...line].slice(0, this.columns).join(''))
      output.write(`${HOME}${cut.map((line) => line + CLEAR_LINE).join('\r\n')}${CLEAR_BELOW}`)
    },
    nextKey(timeoutMs) {
      return new Promise((resolve) => {
        const done = () => {
          clearTimeout(timer)
          wake = undefined
          resolve(pressed.shift())
        }
        const timer = setTimeout(done, timeoutMs)
        wake = done
        if (pressed.length > 0) done()
      })
    },
    close() {
      process.off('exit', leave)
      input.off('keypress', onKey)
      input.setRawMode(false)
      input.pause()
      leave()
    },
  }
}
