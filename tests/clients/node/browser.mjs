// Give Node's modules a browser's surroundings, and tus-js-client's build for browsers: bundlers take that by the
// "browser" field of its package.json, which Node does not read.
import { register } from 'node:module'
import { JSDOM } from 'jsdom'

const resolve = `export const resolve = (name, context, next) =>
  next(name === 'tus-js-client' ? 'tus-js-client/lib.es5/browser/index.js' : name, context)`
register(`data:text/javascript,${encodeURIComponent(resolve)}`)

/** Become a page of the site at `url`. */
export function open(url) {
  const { window } = new JSDOM('', { url })
  for (const name of ['window', 'document', 'navigator', 'localStorage', 'XMLHttpRequest', 'Blob', 'File']) {
    Object.defineProperty(globalThis, name, { value: window[name], configurable: true })
  }
}
