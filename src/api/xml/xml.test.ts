import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { XmlError } from './error.js'
import { parseXml, xmlTurns } from './reader.js'
import { escapeXml, XmlWriter, xmlDocument, xmlElement, xmlText } from './writer.js'

const parse = (text: string, root = 'Root') => parseXml(Buffer.from(text), root)

describe('the XML writer', () => {
  test('escapes markup and control characters', () => {
    expect(escapeXml(`a&b<c>"d"'e'`)).toBe('a&amp;b&lt;c&gt;&quot;d&quot;&#39;e&#39;')
    expect(escapeXml('a\r\n\tb\u0001')).toBe('a&#xd;&#xa;&#x9;b&#x1;')
    expect(xmlText('Size', 3)).toBe('<Size>3</Size>')
    expect(xmlText('Owner', undefined)).toBe('')
  })

  test('writes what the reader reads back, for any text', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), async (text) => {
        const whole = text.replaceAll('\u0000', '').replace(/[\ud800-\udfff]/g, '')
        const root = await parse(xmlDocument('Root', xmlElement('A', xmlText('Key', whole))))
        expect(root.need('A').text('Key')).toBe(whole)
      }),
    )
  })
})

describe('the XML reader', () => {
  test('reads elements, attributes, CDATA, references and namespaces', async () => {
    const root = await parse(`<?xml version="1.0" encoding="UTF-8"?>
      <!-- a comment -->
      <s3:Root xmlns:s3="http://s3.amazonaws.com/doc/2006-03-01/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
        <Object><Key> a &amp; b </Key></Object>
        <Object><Key><![CDATA[<c>&amp;]]></Key></Object>
        <Object><Key>&#x41;&#66;</Key></Object>
        <Quiet>true</Quiet><Days>30</Days><Status>Enabled</Status>
        <Grantee xsi:type="CanonicalUser"/>
      </s3:Root>`)
    expect(root.all('Object').map((object) => object.text('Key'))).toEqual([' a & b ', '<c>&amp;', 'AB'])
    expect(root.boolean('Quiet')).toBe(true)
    expect(root.integer('Days')).toBe(30)
    expect(root.oneOf('Status', ['Enabled', 'Suspended'])).toBe('Enabled')
    expect(root.need('Grantee').attributes.get('type')).toBe('CanonicalUser')
    expect(root.text('Missing')).toBeUndefined()
  })

  test.each([
    ['nothing', ''],
    ['text', 'hello'],
    ['an unclosed element', '<Root><A></Root>'],
    ['two roots', '<Root/><Root/>'],
    ['another root', '<Other/>'],
    ['a DTD', '<!DOCTYPE Root [<!ENTITY e "x">]><Root>&e;</Root>'],
    ['an unknown entity', '<Root>&nbsp;</Root>'],
    ['a bare ampersand', '<Root>a & b</Root>'],
    ['a reference to no character', '<Root>&#xd800;</Root>'],
    ['deep nesting', `<Root>${'<A>'.repeat(60)}${'</A>'.repeat(60)}</Root>`],
    ['text after the root', '<Root/>text'],
  ])('refuses %s', async (_, text) => {
    await expect(parse(text)).rejects.toMatchObject({ name: 'XmlError', code: 'Malformed' })
  })

  test('refuses bytes that are not UTF-8', async () => {
    await expect(parseXml(Buffer.from('<Root>\xff</Root>', 'latin1'), 'Root')).rejects.toMatchObject({
      code: 'Malformed',
    })
  })

  test('refuses wrong contents where they are asked for', async () => {
    const root = await parse('<Root><Days>x</Days><Flag>2</Flag><B/><B/><C><D/></C></Root>')
    expect(() => root.integer('Days')).toThrow(XmlError)
    expect(() => root.boolean('Flag')).toThrow(XmlError)
    expect(() => root.child('B')).toThrow(XmlError)
    expect(() => root.text('C')).toThrow(XmlError)
    expect(() => root.needText('E')).toThrow(XmlError)
    expect(() => root.only('Days', 'Flag', 'B')).toThrow(XmlError)
    expect(root.only('Days', 'Flag', 'B', 'C')).toBe(root)
  })

  test('makes line ends line feeds', async () => {
    expect((await parse('<Root a="1\r\n2">a\r\nb\rc\n<![CDATA[d\r\n]]></Root>')).content).toBe('a\nb\nc\nd\n')
  })

  test.each([
    ['two equal ends', '<Root></Root></Root>'],
    ['an attribute without a value', '<Root a></Root>'],
    ['attributes that touch', '<Root a="1"b="2"/>'],
    ['markup in an attribute', '<Root a="<"/>'],
    ['a name that begins with a digit', '<Root><1/></Root>'],
    ['a comment without its end', '<Root><!-- </Root>'],
    ['CDATA outside of the root', '<![CDATA[]]><Root/>'],
    ['more attributes than anybody needs', `<Root ${'a="1" '.repeat(100)}/>`],
    ['more elements than anybody needs', `<Root>${'<A/>'.repeat(100_001)}</Root>`],
  ])('refuses %s, too', async (_, text) => {
    await expect(parse(text)).rejects.toMatchObject({ code: 'Malformed' })
  })

  // Each of them took seconds of a well-known parser, in which a node answered nobody.
  test.each([
    ['open elements', '', '<a>', ''],
    ['empty elements', '<Root>', '<a/>', '</Root>'],
    ['attributes', '<Root ', 'a="1" ', '/>'],
    ['attributes without values', '<Root ', 'a ', '/>'],
    ['blanks in a tag', '<Root', ' ', '>'],
    ['an attribute without its end', '<Root a="', 'x', '/>'],
    ['ampersands', '<Root>', '&', '</Root>'],
    ['references', '<Root>', '&amp;', '</Root>'],
    ['instructions', '<Root>', '<?a?>', '</Root>'],
    ['comments', '<Root>', '<!---->', '</Root>'],
    ['CDATA', '<Root>', '<![CDATA[]]>', '</Root>'],
    ['carriage returns', '<Root>', '\r', '</Root>'],
    ['blanks around', '', ' ', '<Root/>'],
  ])('takes no long time for 1 MiB of %s', async (_, before, piece, after) => {
    const text = before + piece.repeat(2 ** 20 / piece.length) + after
    const started = process.cpuUsage()
    await parse(text).catch((error) => expect(error).toMatchObject({ code: 'Malformed' }))
    const { user, system } = process.cpuUsage(started)
    expect(user + system).toBeLessThan(1_000_000)
  })

  test('a document of carriage returns takes about the time of one of text', async () => {
    const cpuOf = async (piece: string) => {
      const body = Buffer.from(`<Root>${piece.repeat(2 ** 20 / piece.length)}</Root>`)
      const times: number[] = []
      for (let i = 0; i < 5; i++) {
        const started = process.cpuUsage()
        await parseXml(body, 'Root')
        const { user, system } = process.cpuUsage(started)
        times.push(user + system)
      }
      return Math.min(...times)
    }
    const text = await cpuOf('a')
    for (const piece of ['\r', 'a\r', '\r\n']) expect(await cpuOf(piece)).toBeLessThan(20 * text + 20_000)
  })

  test('answers any input with a document or an XmlError', async () => {
    const piece = fc.constantFrom(
      ...[
        '<Root>',
        '</Root>',
        '<A>',
        '</A>',
        '<A/>',
        '&',
        '&lt;',
        '&#x0;',
        '<![CDATA[',
        ']]>',
        '<!--',
        '-->',
      ],
      ...[
        '<?xml version="1.0"?>',
        '<!DOCTYPE a>',
        ' ',
        'x',
        '"',
        '=',
        '<__proto__>',
        '</__proto__>',
        '<A b="c">',
      ],
    )
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(piece, fc.string()), { maxLength: 12 }), async (pieces) => {
        try {
          const root = await parse(pieces.join(''))
          expect(root.name).toBe('Root')
        } catch (error) {
          expect(error).toMatchObject({ name: 'XmlError', code: 'Malformed' })
        }
      }),
      { numRuns: 500 },
    )
  })
})

const MIB = 2 ** 20
const CHECKSUM = '<ChecksumSHA256>47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=</ChecksumSHA256>'
test.each([
  [
    'of the most parts',
    `<Part><PartNumber>1</PartNumber><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag>${CHECKSUM}</Part>`.repeat(
      10_000,
    ),
    10,
  ],
  ['of long keys, escaped', `<Object><Key>${'&#233;'.repeat(512)}</Key></Object>`.repeat(1000), 100],
  ['of references', '&amp;'.repeat(830_000), 160],
  ['of references in an attribute', `<A b="${'&#9;'.repeat(MIB - 10)}"/>`, 200],
  ['of empty elements', '<A/>'.repeat(99_000), 19],
  ['of attributes', `<A${' b=""'.repeat(60)}/>`.repeat(12_000), 140],
  ['of comments', 'a<!---->'.repeat(MIB / 2 - 10), 100],
  ['of instructions', '<??>'.repeat(MIB - 10), 200],
  ['of carriage returns', '\r'.repeat(4 * MIB - 20), 16],
])('the longest documents are read in turns that are short: one %s', (_, content, turnsMin) => {
  const body = Buffer.from(`<Root>${content}</Root>`)
  expect(body.length).toBeLessThanOrEqual(4 * MIB)
  let longestMs = Number.POSITIVE_INFINITY
  for (let attempt = 0; attempt < 3; attempt++) {
    let [turns, ofThisMs, done] = [0, 0, false as boolean | undefined]
    for (const reading = xmlTurns(body); !done; turns++) {
      const started = process.cpuUsage()
      done = reading.next().done
      const { user, system } = process.cpuUsage(started)
      ofThisMs = Math.max(ofThisMs, (user + system) / 1000)
    }
    expect(turns).toBeGreaterThanOrEqual(turnsMin)
    longestMs = Math.min(longestMs, ofThisMs)
  }
  // Some milliseconds, and what the collection of garbage on other threads adds.
  expect(longestMs).toBeLessThan(60)
})

test('a document written piece by piece is the same', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'grapheme', maxLength: 6000 }), { maxLength: 40 }), (texts) => {
      const pieces = texts.map((text) => xmlText('Key', text))
      const writer = new XmlWriter('Root', 100)
      for (const piece of pieces) writer.add(piece)
      expect(writer.finish().toString()).toBe(xmlDocument('Root', pieces.join('')))
    }),
    { numRuns: 50 },
  )
})
