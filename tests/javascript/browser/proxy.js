// A proxy between Chromium and the server, since what tests route by Playwright does not get lost: it keeps the cookie
// of an answer that it then withholds from the page.

import { readFileSync } from 'node:fs'
import { createServer, request as ask } from 'node:https'

import { served } from './chromium.js'

/**
 * `proxy.onRefresh(forward)` answers `[status, headers, body]`, as `forward()` does, or nothing: then the connection
 * is cut. `proxy.refreshes` counts what came in.
 */
export async function between(test) {
  const pem = readFileSync(served.certificate)
  const proxy = { origin: '', refreshes: 0, onRefresh: (forward) => forward() }
  const server = createServer({ key: pem, cert: pem }, async (incoming, outgoing) => {
    const sent = Buffer.concat(await incoming.toArray())
    const forward = () => passOn(incoming, sent, pem)
    const isRefresh = incoming.url === '/auth/token/'
    if (isRefresh) proxy.refreshes += 1
    const answer = await (isRefresh ? proxy.onRefresh(forward) : forward()).catch(() => null)
    if (!answer) return outgoing.destroy()
    const [status, headers, body] = answer
    // Chromium sends a request again when a connection that it used before is cut.
    outgoing.writeHead(status, { ...headers, connection: 'close' }).end(body)
  })
  await new Promise((listening) => server.listen(0, 'localhost', listening))
  test.after(() => {
    server.close()
    server.closeAllConnections()
  })
  proxy.origin = `https://localhost:${server.address().port}`
  return proxy
}

const passOn = ({ url, method, headers }, sent, ca) =>
  new Promise((resolve, reject) => {
    const outgoing = ask(served.origin + url, { method, headers, ca, agent: false }, async (answer) => {
      const body = Buffer.concat(await answer.toArray())
      const { 'transfer-encoding': _, ...rest } = answer.headers
      resolve([answer.statusCode, rest, body])
    })
    outgoing.on('error', reject)
    outgoing.end(sent)
  })
