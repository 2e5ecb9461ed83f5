/**
 * A page on which one can browse the admin API and try it. It is one answer: nothing on it is loaded from elsewhere, the
 * document comes from /openapi.json, and the token stays in the page's memory.
 */
import { createHash } from 'node:crypto'
import type { Answer } from '../../http/answer.js'

const STYLE = `
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1rem; color-scheme: light dark }
summary { cursor: pointer; padding: .3rem 0 } h2 { margin: 1.4rem 0 .3rem; font-size: 1.1rem }
.method { display: inline-block; width: 3.4rem; font-weight: 700 } .what { opacity: .7; margin-left: .6rem }
details > div { border-left: 3px solid #8886; margin: .2rem 0 .8rem .2rem; padding: .2rem .8rem }
pre { overflow: auto; background: #8882; padding: .6rem; max-height: 26rem } label { display: block; margin: .3rem 0 }
input, textarea { font: inherit; width: 100%; box-sizing: border-box } textarea { font-family: monospace; height: 8rem }
`

const SCRIPT = `
const element = (name, properties, ...children) => {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}
const token = document.getElementById('token')
const resolve = (root, schema) =>
  schema && schema.$ref ? root.components.schemas[schema.$ref.split('/').pop()] : schema
const json = (value) => JSON.stringify(value, undefined, 2)
const inputs = (operation) =>
  (operation.parameters || []).map((parameter) => {
    const input = element('input', { placeholder: parameter.required ? 'required' : 'optional' })
    return { name: parameter.name, input }
  })
const schemaOf = (holder) => holder && holder.content && holder.content['application/json'].schema
const showOperation = (root, path, method, operation) => {
  const place = element('div', {})
  const body = operation.requestBody ? element('textarea', { value: '{}' }) : undefined
  const fields = inputs(operation)
  const answer = element('pre', { hidden: true })
  const send = element('button', { textContent: 'Send' })
  send.onclick = async () => {
    answer.hidden = false
    const query = new URLSearchParams(
      fields.filter(({ input }) => input.value !== '').map(({ name, input }) => [name, input.value]),
    )
    try {
      const response = await fetch(path + (query.size > 0 ? '?' + query : ''), {
        method: method.toUpperCase(),
        headers: token.value === '' ? {} : { authorization: 'Bearer ' + token.value },
        body: body && body.value,
      })
      answer.textContent = response.status + '\\n' + (await response.text())
    } catch (error) {
      answer.textContent = String(error)
    }
  }
  for (const { name, input } of fields) place.append(element('label', { textContent: name }, input))
  if (body) {
    place.append(element('label', { textContent: 'Body' }, body))
    place.append(
      element('details', {},
        element('summary', { textContent: 'Schema of the body' }),
        element('pre', { textContent: json(resolve(root, schemaOf(operation.requestBody))) }),
      ),
    )
  }
  const result = resolve(root, schemaOf(operation.responses['200']))
  if (result) {
    place.append(
      element('details', {},
        element('summary', { textContent: 'Schema of the answer' }),
        element('pre', { textContent: json(result) }),
      ),
    )
  }
  place.append(send, answer)
  return element('details', {},
    element('summary', {},
      element('span', { className: 'method', textContent: method.toUpperCase() }),
      element('code', { textContent: path }),
      element('span', { className: 'what', textContent: operation.summary }),
    ),
    place,
  )
}
fetch('/openapi.json').then((response) => response.json()).then((root) => {
  const groups = new Map()
  for (const [path, methods] of Object.entries(root.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags[0]
      if (!groups.has(tag)) groups.set(tag, [element('h2', { textContent: tag })])
      groups.get(tag).push(showOperation(root, path, method, operation))
    }
  }
  for (const nodes of groups.values()) document.getElementById('api').append(...nodes)
})
`

const PAGE = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Carport administration API</title><style>${STYLE}</style></head>
<body><h1>Carport administration API</h1>
<p>The whole description is at <a href="/openapi.json">/openapi.json</a>.</p>
<label>Token <input id="token" type="password" autocomplete="off"></label>
<div id="api"></div><script>${SCRIPT}</script></body></html>
`

const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** The page, which its policy keeps from loading anything from elsewhere. */
export function browsePage(): Answer {
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf(SCRIPT)}`,
    `style-src ${hashOf(STYLE)}`,
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
  return {
    status: 200,
    headers: {
      'Content-Type': 'text/html; charset=utf-8',
      'Content-Security-Policy': policy,
      'X-Content-Type-Options': 'nosniff',
      'Referrer-Policy': 'no-referrer',
    },
    body: PAGE,
  }
}
