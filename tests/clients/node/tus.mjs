// Upload FILE to ENDPOINT with tus-js-client, in the way SCENARIO names. Prints JSON: where to, and by which requests.
import { createReadStream, readFileSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import { FileUrlStorage, Upload } from 'tus-js-client'

const [scenario, endpoint, path] = process.argv.slice(2)
const requests = []

const plain = {
  endpoint,
  metadata: { filename: 'Διάλογος 録音.wav', filetype: 'audio/wav', speaker: 'Дмитрий 🎙' },
  retryDelays: null,
  onAfterResponse: (request, response) =>
    requests.push({
      method: request.getMethod(),
      offset: Number(request.getHeader('Upload-Offset') ?? 0),
      status: response.getStatus(),
    }),
}
const pieces = { ...plain, chunkSize: 64 * 1024 }

/** Send `file` to the end; returns its URL. `previous` is an upload that this one continues. */
function send(file, options, previous = null) {
  return new Promise((resolve, reject) => {
    const upload = new Upload(file, { ...options, onSuccess: () => resolve(upload.url), onError: reject })
    if (previous) upload.resumeFromPreviousUpload(previous)
    upload.start()
  })
}

/** Send some of `file` and stop when `event` is first heard with bytes sent; returns the unfinished upload. */
function abandon(file, options, event) {
  return new Promise((resolve, reject) => {
    const stop = async () => {
      await upload.abort()
      resolve(upload)
    }
    const heard = (bytes) => void (bytes > 0 && stop())
    const upload = new Upload(file, { ...options, [event]: heard, onError: reject })
    upload.start()
  })
}

/** Stop after the first piece, and go on as another run of the program would: with what the URL storage knows. */
async function resume(open, options) {
  const remembering = { ...options, urlStorage: new FileUrlStorage(`${path}.urls`) }
  await abandon(open(), remembering, 'onChunkComplete')
  const [previous] = await new Upload(open(), remembering).findPreviousUploads()
  return send(open(), remembering, previous)
}

/** Cut the connection in the middle of a request, and go on at once. */
async function cut(file, options) {
  const { url } = await abandon(file, options, 'onProgress')
  return send(file, { ...options, uploadUrl: url })
}

async function terminate(file, options) {
  const upload = await abandon(file, options, 'onChunkComplete')
  await upload.abort(true)
  return upload.url
}

const stream = () => createReadStream(path)
const buffer = () => readFileSync(path)
const pipe = () => stream().pipe(new PassThrough())

const scenarios = {
  whole: () => send(stream(), plain),
  pieces: () => send(stream(), pieces),
  'during creation': () => send(buffer(), { ...pieces, uploadDataDuringCreation: true }),
  parallel: () => send(stream(), { ...plain, parallelUploads: 3 }),
  'parallel pieces': () => send(buffer(), { ...pieces, parallelUploads: 2 }),
  'length deferred': () => send(pipe(), { ...pieces, uploadLengthDeferred: true }),
  'method override': () => send(stream(), { ...pieces, overridePatchMethod: true }),
  resume: () => resume(stream, pieces),
  cut: () => cut(buffer(), plain),
  terminate: () => terminate(stream(), pieces),
}
for (const number of ['03', '05']) {
  const draft = { ...pieces, protocol: `ietf-draft-${number}` }
  Object.assign(scenarios, {
    [`draft ${number}`]: () => send(buffer(), draft),
    [`draft ${number} from a file`]: () => send(stream(), draft),
    [`draft ${number} during creation`]: () => send(buffer(), { ...draft, uploadDataDuringCreation: true }),
    [`draft ${number} resume`]: () => resume(buffer, draft),
    [`draft ${number} cut`]: () => cut(buffer(), { ...draft, chunkSize: Infinity }),
    [`draft ${number} terminate`]: () => terminate(buffer(), draft),
  })
}

const url = await scenarios[scenario]()
console.log(JSON.stringify({ url, requests }))
