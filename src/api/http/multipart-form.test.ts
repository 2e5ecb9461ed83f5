import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FormError, formBoundary, readForm } from './multipart-form.js'

const LIMITS = { headBytesMax: 4096, fieldsMax: 10 }
const BOUNDARY = 'xyz'

interface Part {
  name: string
  value: Buffer
  fileName?: string
}

function encode(parts: readonly Part[], boundary = BOUNDARY): Buffer {
  const pieces = parts.map(({ name, value, fileName }) =>
    Buffer.concat([
      Buffer.from(
        `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${
          fileName === undefined ? '' : `; filename="${fileName}"`
        }\r\n\r\n`,
      ),
      value,
      Buffer.from('\r\n'),
    ]),
  )
  return Buffer.concat([...pieces, Buffer.from(`--${boundary}--\r\n`)])
}

/** Gives `bytes` in pieces that end at the given places. */
function source(bytes: Buffer, cuts: readonly number[] = []) {
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  let at = 0
  return async () => {
    while (ends.length > 0) {
      const end = ends.shift()!
      if (end === at) continue
      const piece = bytes.subarray(at, end)
      at = end
      return piece
    }
    return undefined
  }
}

async function read(bytes: Buffer, cuts: readonly number[] = [], boundary = BOUNDARY) {
  const form = await readForm(source(bytes, cuts), boundary, (name) => name === 'file', LIMITS)
  if (!form.file) return { fields: form.fields, content: undefined, fileName: undefined }
  const pieces: Buffer[] = []
  for await (const piece of form.file.body) pieces.push(piece)
  return { fields: form.fields, content: Buffer.concat(pieces), fileName: form.file.fileName }
}

describe('a form', () => {
  test('is read the same in whatever pieces it comes', async () => {
    // Values full of what looks like the beginning of a delimiter.
    const value = fc
      .array(fc.constantFrom('\r', '\n', '--', 'x', 'xy', 'xyzz', '\r\n--xy', 'a'), { maxLength: 30 })
      .map((pieces) => Buffer.from(pieces.join('')))
      .filter((bytes) => !`\r\n${bytes}\r\n`.includes(`\r\n--${BOUNDARY}`))
    await fc.assert(
      fc.asyncProperty(value, value, fc.array(fc.nat(), { maxLength: 40 }), async (field, file, cuts) => {
        const bytes = encode([
          { name: 'a', value: field },
          { name: 'file', value: file, fileName: 'f.txt' },
          { name: 'late', value: field },
        ])
        const got = await read(bytes, cuts)
        expect(got.fields).toEqual([{ name: 'a', value: field.toString() }])
        expect(got.content!.equals(file)).toBe(true)
        expect(got.fileName).toBe('f.txt')
      }),
    )
  })
  test('that breaks off anywhere is malformed', async () => {
    const bytes = encode([
      { name: 'a', value: Buffer.from('1') },
      { name: 'file', value: Buffer.from('content'), fileName: 'f' },
    ])
    for (let end = 0; end < bytes.length - 2; end++) {
      await expect(read(bytes.subarray(0, end))).rejects.toBeInstanceOf(FormError)
    }
  })
  test('of any bytes is read or refused, never worse', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.boolean(), async (noise, begun) => {
        const head = begun ? Buffer.from(`--${BOUNDARY}\r\n`) : Buffer.alloc(0)
        await read(Buffer.concat([head, noise])).catch((error: unknown) => {
          expect(error).toBeInstanceOf(FormError)
        })
      }),
    )
  })
  test('without a file has fields alone', async () => {
    const got = await read(encode([{ name: 'a', value: Buffer.from('1') }]))
    expect(got).toEqual({ fields: [{ name: 'a', value: '1' }], content: undefined, fileName: undefined })
  })
  test('with too much before its file is refused as too large', async () => {
    const long = encode([{ name: 'a', value: Buffer.alloc(5000, 'a') }])
    await expect(read(long)).rejects.toMatchObject({ code: 'TooLarge' })
    const many = encode(Array.from({ length: 11 }, (_, i) => ({ name: `f${i}`, value: Buffer.from('1') })))
    await expect(read(many)).rejects.toMatchObject({ code: 'TooLarge' })
  })
  test('names files without their folders, with quotes as browsers write them', async () => {
    const name = async (fileName: string) =>
      (await read(encode([{ name: 'file', value: Buffer.from('x'), fileName }]))).fileName
    expect(await name('C:\\temp\\a.txt')).toBe('a.txt')
    expect(await name('/tmp/ä b.txt')).toBe('ä b.txt')
    expect(await name('a%22b.txt')).toBe('a"b.txt')
    expect(await name('a\\"b.txt')).toBe('a"b.txt')
  })
})

test.each([
  ['multipart/form-data; boundary=abc', 'abc'],
  ['Multipart/Form-Data; charset=utf-8; boundary="a b"', 'a b'],
  ['multipart/form-data', undefined],
  ['text/plain; boundary=abc', undefined],
  [undefined, undefined],
])('boundary of %s', (contentType, boundary) => {
  expect(formBoundary(contentType)).toBe(boundary)
})
