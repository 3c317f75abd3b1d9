// Upload FILE to ENDPOINT with Uppy and its tus plugin, on a page at PAGE. Prints JSON: where to.
import { readFileSync } from 'node:fs'
import { open } from './browser.mjs'

const [endpoint, path, page] = process.argv.slice(2)
open(page)
const { default: Uppy } = await import('@uppy/core')
const { default: Tus } = await import('@uppy/tus')

const uppy = new Uppy().use(Tus, { endpoint, chunkSize: 64 * 1024, retryDelays: null })
const name = 'Διάλογος 録音.wav'
uppy.addFile({ name, type: 'audio/wav', data: new File([readFileSync(path)], name), meta: { speaker: 'Дмитрий 🎙' } })
const { successful, failed } = await uppy.upload()
if (failed.length) throw failed[0].error
console.log(JSON.stringify({ url: successful[0].uploadURL }))
process.exit() // instead of waiting until the idle connections end
