/**
 * Counts the work of code on texts: the most characters that each call of String's methods may look at. So a
 * test can bound the work of a matcher without measuring time.
 */
const METHODS = [
  'charCodeAt',
  'startsWith',
  'endsWith',
  'includes',
  'indexOf',
  'split',
  'slice',
  'trim',
  'toLowerCase',
] as const

/** The longest pattern for which V8's indexOf is linear for all texts. */
const SHORT_NEEDLE_LENGTH = 6

/** Runs `work` and counts its steps. */
export function textSteps(work: () => unknown): number {
  let steps = 0
  const prototype = String.prototype as unknown as Record<string, (...args: unknown[]) => unknown>
  const originals = METHODS.map((name) => [name, prototype[name]!] as const)
  const count = (name: (typeof METHODS)[number], text: string, argument: unknown) => {
    const needle = typeof argument === 'string' ? argument.length : 0
    if (name === 'charCodeAt') steps++
    else if (name === 'startsWith' || name === 'endsWith') steps += Math.min(needle, text.length) + 1
    else if (name === 'indexOf' || name === 'includes') {
      steps += text.length * (needle <= SHORT_NEEDLE_LENGTH ? 1 : needle)
    } else steps += text.length + 1
  }
  for (const [name, original] of originals) {
    prototype[name] = function (this: unknown, ...args: unknown[]) {
      count(name, String(this), args[0])
      return Reflect.apply(original, this, args)
    }
  }
  try {
    work()
  } finally {
    for (const [name, original] of originals) prototype[name] = original
  }
  return steps
}
