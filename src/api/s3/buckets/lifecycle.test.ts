import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseXml } from '../../xml/reader.js'
import { xmlDocument } from '../../xml/writer.js'
import { toS3Error } from '../errors.js'
import { lifecycleXml, parseLifecycle } from './lifecycle.js'

const read = async (rules: string) =>
  parseLifecycle(
    await parseXml(Buffer.from(xmlDocument('LifecycleConfiguration', rules)), 'LifecycleConfiguration'),
    () => 'made',
  )
const rule = (inner: string, head = '<Prefix/><Status>Enabled</Status>') => `<Rule>${head}${inner}</Rule>`
const expiration = (inner: string) => `<Expiration>${inner}</Expiration>`
const days = expiration('<Days>1</Days>')
const filter = (inner: string) => `<Filter>${inner}</Filter><Status>Enabled</Status>`
const tag = (key: string, value = 'v') => `<Tag><Key>${key}</Key><Value>${value}</Value></Tag>`

describe('a lifecycle configuration', () => {
  test.each([
    rule(days, '<ID>a</ID><Prefix>p/</Prefix><Status>Disabled</Status>'),
    rule(days, `<ID>a</ID>${filter('')}`),
    rule(days, `<ID>a</ID>${filter('<Prefix>p</Prefix>')}`),
    rule(days, `<ID>a</ID>${filter(tag('k'))}`),
    rule(
      days,
      `<ID>a</ID>${filter(`<And><Prefix>p</Prefix>${tag('k')}${tag('l')}<ObjectSizeGreaterThan>0</ObjectSizeGreaterThan><ObjectSizeLessThan>5</ObjectSizeLessThan></And>`)}`,
    ),
    rule(expiration('<Date>2030-01-01T00:00:00.000Z</Date>'), `<ID>a</ID>${filter('')}`),
    rule(
      `${expiration('<ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>')}<NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays><NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>`,
      `<ID>a</ID>${filter('')}`,
    ),
    rule(
      '<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>',
      `<ID>a</ID>${filter('')}`,
    ),
  ])('comes back as it was written: %s', async (xml) => {
    const rules = await read(xml)
    expect(await read(lifecycleXml(rules))).toEqual(rules)
    const canonical = lifecycleXml(rules)
    for (const element of xml.match(/<\w+>[^<]+<\/\w+>/g) ?? []) expect(canonical).toContain(element)
  })
  test('names rules without an id, and takes dates without a time', async () => {
    const [made] = await read(rule(expiration('<Date>2017-09-27</Date>')))
    expect(made).toMatchObject({ id: 'made', expiration: { dateMs: Date.UTC(2017, 8, 27) } })
  })
  test('with several criteria beside each other asks for all of them, and is shown as it was', async () => {
    const xml = rule(days, filter(`<Prefix>a/b</Prefix>${tag('k')}<And><Prefix>a</Prefix>${tag('l')}</And>`))
    const [both] = await read(xml)
    expect(both!.filter).toEqual({
      prefix: 'a/b',
      tags: [
        ['k', 'v'],
        ['l', 'v'],
      ],
    })
    expect(lifecycleXml([both!])).toContain(`<Filter><Prefix>a/b</Prefix>${tag('k')}<And>`)
  })
  test.each([
    ['no rule', '', 'MalformedXML'],
    ['no status', rule(days, '<Prefix/>'), 'MalformedXML'],
    ['a status in lower case', rule(days, '<Prefix/><Status>enabled</Status>'), 'MalformedXML'],
    ['neither prefix nor filter', rule(days, '<Status>Enabled</Status>'), 'MalformedXML'],
    ['both', rule(days, `<Prefix/>${filter('')}`), 'MalformedXML'],
    ['an unknown element', rule(`${days}<X/>`), 'MalformedXML'],
    ['no action', rule(''), 'InvalidRequest'],
    [
      'a long id',
      rule(days, `<ID>${'a'.repeat(256)}</ID><Prefix/><Status>Enabled</Status>`),
      'InvalidArgument',
    ],
    ['one id twice', rule(days).repeat(2), 'InvalidArgument'],
    ['no days', rule(expiration('<Days>0</Days>')), 'InvalidArgument'],
    ['days that are no number', rule(expiration('<Days>x</Days>')), 'MalformedXML'],
    ['two expirations in one', rule(expiration('<Days>1</Days><Date>2030-01-01</Date>')), 'MalformedXML'],
    ['an empty expiration', rule(expiration('')), 'MalformedXML'],
    ['a date that is none', rule(expiration('<Date>20200101</Date>')), 'MalformedXML'],
    ['a date at noon', rule(expiration('<Date>2030-01-01T12:00:00Z</Date>')), 'InvalidArgument'],
    [
      'no newer versions',
      rule(
        '<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>0</NewerNoncurrentVersions></NoncurrentVersionExpiration>',
      ),
      'InvalidArgument',
    ],
    [
      'a transition',
      rule('<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>'),
      'NotImplemented',
    ],
    ['a tag twice', rule(days, filter(`<And>${tag('k')}${tag('k')}</And>`)), 'InvalidRequest'],
    ['a long tag', rule(days, filter(tag('k'.repeat(129)))), 'InvalidTag'],
    [
      'sizes the wrong way round',
      rule(
        days,
        filter(
          '<And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>5</ObjectSizeLessThan></And>',
        ),
      ),
      'InvalidRequest',
    ],
    [
      'uploads chosen by tags',
      rule(
        '<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>',
        filter(tag('k')),
      ),
      'InvalidRequest',
    ],
    [
      'markers chosen by tags',
      rule(expiration('<ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>'), filter(tag('k'))),
      'InvalidRequest',
    ],
  ])('with %s is refused', async (_, rules, code) => {
    await expect(read(rules).catch((error) => Promise.reject(toS3Error(error)))).rejects.toMatchObject({
      code,
    })
  })
  test('of any of its elements is read or refused, never worse', async () => {
    const names = [
      'Rule',
      'ID',
      'Status',
      'Prefix',
      'Filter',
      'And',
      'Tag',
      'Key',
      'Expiration',
      'Days',
      'Date',
    ]
    const { node } = fc.letrec((tie) => ({
      node: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom('', '1', 'Enabled', '2030-01-01'),
        fc
          .tuple(fc.constantFrom(...names), fc.array(tie('node'), { maxLength: 4 }))
          .map(([name, inner]) => `<${name}>${inner.join('')}</${name}>`),
      ),
    }))
    await fc.assert(
      fc.asyncProperty(node, async (inner) => {
        await read(`<Rule>${inner}</Rule>`).catch((error: unknown) => {
          expect(toS3Error(error).status).toBe(400)
        })
      }),
      { numRuns: 200 },
    )
  })
})
