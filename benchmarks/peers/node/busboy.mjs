// Node's http with busboy: the form's file, or the body, piped to the disk.
//
// busboy.mjs FOLDER PORT
import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import busboy from 'busboy'

const [folder, port] = process.argv.slice(2)

const store = (content) => pipeline(content, createWriteStream(join(folder, randomUUID())))

async function form(request) {
  const files = []
  const parser = busboy({ headers: request.headers })
  parser.on('file', (_, content) => files.push(store(content)))
  await pipeline(request, parser)
  await Promise.all(files)
}

const ROUTES = { 'GET /health': [200, () => {}], 'POST /form': [201, form], 'POST /raw': [201, store] }

const server = createServer(async (request, response) => {
  const [status, handle] = ROUTES[`${request.method} ${request.url}`] ?? [404, () => {}]
  try {
    await handle(request)
    response.writeHead(status).end()
  } catch (error) {
    response.writeHead(500).end(`${error}`)
  }
})
server.requestTimeout = 0
server.listen(Number(port), '127.0.0.1')
