// @tus/server with @tus/file-store, as their own page shows it.
//
// tus.mjs FOLDER PORT
import { createServer } from 'node:http'
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'

const [directory, port] = process.argv.slice(2)
const tus = new Server({ path: '/files', datastore: new FileStore({ directory }) })

const server = createServer((request, response) =>
  request.url === '/health' ? response.writeHead(200).end() : tus.handle(request, response)
)
server.requestTimeout = 0
server.listen(Number(port), '127.0.0.1')
