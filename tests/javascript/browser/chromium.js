// Chromium with the page of tests/browser_page.py.

import { chromium } from 'playwright-core'

export const served = JSON.parse(process.env.SERVED)

export const ARGUMENTS = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync'],
]

/** A browser of its own for a test, closed when the test is over. */
export async function launch(test) {
  const browser = await chromium.launch({
    executablePath: served.chromium,
    args: ARGUMENTS,
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
  })
  test.after(() => browser.close())
  const context = await browser.newContext({ ignoreHTTPSErrors: true })
  const log = { refreshes: [], console: [], urls: [] }
  context.on('request', (request) => {
    log.urls.push(request.url())
    if (request.url().endsWith('/token/')) log.refreshes.push(request)
  })
  context.on('console', (message) => log.console.push(message.text()))
  context.on('weberror', (error) => log.console.push(String(error.error())))
  return { browser, context, log }
}

/** A tab with the page. What it tells is kept in `window.told`. */
export async function open(context, { origin = served.origin, query = '' } = {}) {
  const tab = await context.newPage()
  await load(tab, () => tab.goto(`${origin}/page/${query}`))
  return tab
}

export async function load(tab, navigate) {
  await navigate()
  await tab.evaluate(async () => {
    const session = await jwtSession
    window.told = []
    const types = ['signed-in', 'signed-out', 'reauthenticate', 'tenant-idle', 'idle-soon', 'refreshed', 'degraded']
    for (const type of types)
      session.on(type, (detail) => window.told.push([type, detail]))
    await session.ready
  })
}

export const snapshot = (tab) => tab.evaluate(async () => (await jwtSession).getSnapshot())
export const told = (tab, type) => tab.evaluate((type) => window.told.filter(([each]) => each === type), type)

/** Call a method of the session; its result, or the code of its error. */
export const call = (tab, method, ...args) =>
  tab.evaluate(
    async ([method, args]) => {
      const session = await jwtSession
      try {
        return await session[method](...args)
      } catch (error) {
        return { failed: error.code ?? error.name, terminal: error.terminal }
      }
    },
    [method, args],
  )

/** Call the API as a page does; status and body. */
export const api = (tab, path = '/api/me/') =>
  tab.evaluate(async (path) => {
    try {
      const response = await (await jwtSession).fetch(path)
      return [response.status, await response.json()]
    } catch (error) {
      return [error.code ?? error.name]
    }
  }, path)

/** Sign in. What the tab told before, as that nobody was signed in, is forgotten. */
export async function signIn(tab, who = 0) {
  await tab.evaluate(() => (window.told = []))
  const failure = await call(tab, 'signIn', { email: served.users[who], password: served.password, delivery: 'cookie' })
  if (failure) throw new Error(`Signing in failed: ${failure.failed}`)
}

export const passing = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000))

/** Wait until a tab has a status; fails after 5 s. Playwright's own waiting takes any promise for true. */
export async function status(tab, wanted) {
  const start = performance.now()
  for (;;) {
    const { status, reason } = await snapshot(tab)
    if (status === wanted) return
    if (performance.now() - start > 5000) throw new Error(`The tab is ${status} (${reason}), not ${wanted}.`)
    await passing(0.05)
  }
}

/** Have something done on the server, to the account of a user. */
export async function onServer(context, what, who = 0) {
  const answer = await context.request.post(`${served.origin}/server/${what}/`, { form: { email: served.users[who] } })
  if (answer.status() !== 204) throw new Error(await answer.text())
}
