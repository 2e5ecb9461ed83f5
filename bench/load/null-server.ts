import { createServer } from 'node:net'

// A server that does nothing but answer: what the load reaches against it is the load's own limit. Usage: null-server.js PORT BYTES

const [port, bytes] = process.argv.slice(2).map(Number) as [number, number]
const answers = {
  GET: Buffer.concat([
    Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n\r\n`),
    Buffer.alloc(bytes, 'x'),
  ]),
  PUT: Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
}

createServer((socket) => {
  /** Bytes of a request's body that have not come yet. */
  let left = 0
  let head = ''
  socket.on('error', () => {})
  socket.on('data', (data) => {
    let at = 0
    while (at < data.length) {
      if (left > 0) {
        const taken = Math.min(left, data.length - at)
        at += taken
        left -= taken
        if (left === 0) socket.write(answers.PUT)
        continue
      }
      const before = head.length
      head += data.toString('latin1', at)
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      at += end + 4 - before
      left = Number(/\r\ncontent-length: *(\d+)/i.exec(head.slice(0, end + 2))?.[1] ?? 0)
      if (left === 0) socket.write(head.startsWith('GET') ? answers.GET : answers.PUT)
      head = ''
    }
  })
}).listen(port, '127.0.0.1')
