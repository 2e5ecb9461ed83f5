import { K2vClient } from 'carport/k2v'
import { Notes } from './notes.js'

const form = document.querySelector('#settings')
const list = document.querySelector('#notes')
const state = document.querySelector('#state')

// Each tab has a storage of its own, which lives as long as the tab.
const storage = sessionStorage
const saved = storage.getItem('settings')
if (saved) open(JSON.parse(saved))
form.addEventListener('submit', (event) => {
  event.preventDefault()
  const settings = Object.fromEntries(new FormData(form))
  storage.setItem('settings', JSON.stringify(settings))
  open(settings)
})

function open(settings) {
  const notes = new Notes(new K2vClient(settings), storage)
  form.hidden = true
  document.querySelector('main').hidden = false
  let problem = ''
  const show = () => {
    showNotes(notes)
    const unsent = notes.unsent === 0 ? 'All notes are stored.' : `${notes.unsent} not sent yet.`
    state.textContent = `${navigator.onLine ? '' : 'Offline. '}${unsent} ${problem}`
  }
  notes.addEventListener('change', show)
  notes.addEventListener('state', ({ detail }) => {
    problem = detail
    show()
  })
  for (const type of ['online', 'offline']) addEventListener(type, show)
  document.querySelector('#add').onclick = () => {
    const id = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16)).join('-')
    notes.edit(id, '')
    document.getElementById(id).querySelector('textarea').focus()
  }
  show()
  notes.run().catch(() => {
    storage.removeItem('settings')
    form.hidden = false
  })
}

/** Brings the page to what the notes are, and leaves alone what has not changed: above all the place of the cursor. */
function showNotes(notes) {
  const shown = new Map(notes.list())
  for (const row of [...list.children]) if (!shown.has(row.id)) row.remove()
  for (const [i, [id, text]] of [...shown].entries()) {
    const row = document.getElementById(id) ?? rowOf(notes, id)
    if (list.children[i] !== row) list.insertBefore(row, list.children[i] ?? null)
    const area = row.querySelector('textarea')
    if (area.value !== text) area.value = text
  }
}

function rowOf(notes, id) {
  const row = document.createElement('div')
  row.id = id
  const area = row.appendChild(document.createElement('textarea'))
  area.setAttribute('aria-label', 'Note')
  area.oninput = () => notes.edit(id, area.value)
  const remove = row.appendChild(document.createElement('button'))
  remove.type = 'button'
  remove.textContent = 'Delete'
  remove.onclick = () => notes.edit(id, null)
  return row
}
