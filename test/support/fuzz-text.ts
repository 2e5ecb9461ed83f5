import fc from 'fast-check'

/** Texts that programs trip over. */
export const ODD_TEXTS = [
  ...[
    '',
    ' ',
    '0',
    '-1',
    '1',
    '00',
    '1e309',
    'NaN',
    'Infinity',
    '0x10',
    '1.5',
    '+1',
    '9007199254740993',
    '9'.repeat(40),
  ],
  ...[
    'null',
    'undefined',
    'true',
    'TRUE',
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    '*',
    '?',
    '$\u007bx}',
    '$&',
  ],
  ...[
    'a\r\nX-Injected: 1',
    '\n',
    '\t',
    '\u0000',
    '\u0001\u001f\u007f',
    '\u0085',
    '\u2028',
    '\ufffe',
    '\ufeff',
    '\ud800',
  ],
  ...[
    'é',
    '😀',
    'e\u0301',
    '日本',
    '\u202e',
    '/',
    '//',
    '/../',
    '..',
    '.',
    'a/./b',
    '%',
    '%zz',
    '%00',
    '%2F',
    '+',
    'a b',
  ],
  ...[
    '<a>',
    '&amp;',
    ']]>',
    "'",
    '"',
    '""',
    '"a',
    '\\',
    ';',
    ',',
    ',,',
    '=',
    '&',
    '#',
    'W/"x"',
    'bytes=0-',
    'x'.repeat(300),
  ],
  ...[
    'x'.repeat(1024),
    'x'.repeat(1025),
    'é'.repeat(600),
    'x'.repeat(3000),
    '/'.repeat(1000),
    'a,'.repeat(1500),
  ],
]

export const oddText: fc.Arbitrary<string> = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...ODD_TEXTS) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }) },
  { weight: 1, arbitrary: fc.string({ maxLength: 12 }) },
)

/** Picks one of some values, most often the first. */
export function likely<T>(...values: [T, ...T[]]): fc.Arbitrary<T> {
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant(values[0]) },
    { weight: 2, arbitrary: fc.constantFrom(...values) },
  )
}

/** Turns a text into a header's value: UTF-8 bytes, without characters that end a line. */
export function headerBytes(text: string): string {
  return Buffer.from(text, 'utf8')
    .toString('latin1')
    .replace(/[\0\r\n]/g, '')
}

/** Turns a text into a part of a query or path. */
export function urlBytes(text: string, keepSlash = false): string {
  const encoded = encodeURIComponent(Buffer.from(text, 'utf8').toString('utf8'))
  return keepSlash ? encoded.replaceAll('%2F', '/') : encoded
}
