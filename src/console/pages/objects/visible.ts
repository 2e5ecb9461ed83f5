/** Characters that are not seen, or turn the direction of text around them: general categories Cc, Cf, Zl and Zp, and lone surrogates. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/** Control characters, and what turns the direction of text, as signs that can be seen; spaces at the ends too. */
export function visible(text: string): string {
  return text.replace(UNSEEN, escaped).replace(/^ | $/g, '␣')
}

function escaped(character: string): string {
  const code = character.codePointAt(0)!.toString(16)
  return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`
}
