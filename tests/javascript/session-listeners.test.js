// Listeners, the end of the object, and places without a browser.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { Browser, during, signedIn } from './fakes/browser.js'

const MODULE = new URL('../../jwt_sessions/static/jwt_sessions/session.js', import.meta.url)
const ann = { email: 'ann', password: 'ann secret' }

test('listeners are called after what they are told of is settled', async () => {
  const { browser, tab, session } = await signedIn()
  const seen = []
  session.subscribe(() => seen.push(['snapshot', session.getSnapshot().status]))
  session.on('signed-out', ({ reason }) => seen.push(['signed-out', session.getSnapshot().status, reason]))
  session.on('signed-in', () => {
    seen.push(['signed-in', session.getSnapshot().status])
    session.getAccessToken().then((token) => seen.push(['token', typeof token]))
  })
  await during(browser, session.signOut())
  await during(browser, session.signIn(ann))
  assert.deepEqual(seen, [
    ['snapshot', 'signed-out'],
    ['signed-out', 'signed-out', 'logout'],
    ['snapshot', 'signed-in'],
    ['signed-in', 'signed-in'],
    ['token', 'string'],
  ])
  assert.deepEqual(tab.errors, [])
})

test('no listener can deadlock the session by calling it', async () => {
  const calls = {
    getAccessToken: (session) => session.getAccessToken({ minValidity: 1e6 }),
    fetch: (session) => session.fetch('/api/'),
    signIn: (session) => session.signIn(ann),
    signOut: (session) => session.signOut(),
    reauthenticate: (session) => session.reauthenticate({ password: 'ann secret' }),
    switchTenant: (session) => session.switchTenant('acme'),
    devices: (session) => session.devices.endAll(),
    dispose: (session) => session.dispose(),
  }
  for (const [name, call] of Object.entries(calls))
    for (const type of ['refreshed', 'signed-out', 'degraded', 'subscribe']) {
      const { browser, server, session } = await signedIn({ server: { lifetime: 30 } })
      const results = []
      const listener = async () => {
        if (results.length > 2) return
        const place = results.push('pending') - 1
        await Promise.resolve(call(session)).catch(() => {})
        results[place] = 'done'
      }
      if (type === 'subscribe') session.subscribe(listener)
      else session.on(type, listener)
      if (type === 'degraded') server.fault = () => ({ status: 503 })
      await browser.pass(30)
      if (type !== 'refreshed') server.end('ended_by_admin')
      server.fault = () => undefined
      await browser.pass(60)
      assert.ok(results.length > 0, `${name} in ${type}: not called`)
      assert.ok(!results.includes('pending'), `${name} in ${type}: ${results}`)
    }
})

test('a listener that waits for the session for ever holds nothing up', async () => {
  const { browser, server, tab, session } = await signedIn()
  session.on('refreshed', () => new Promise(() => {}))
  session.subscribe(() => new Promise(() => {}))
  await browser.pass(600)
  assert.equal(server.refreshes.length, 2)
  assert.equal(tab.status, 'signed-in')
})

test('a listener that throws does not break the others', async () => {
  const { browser, tab, session } = await signedIn()
  const heard = []
  const failing = () => {
    throw new Error('mine')
  }
  session.subscribe(failing)
  session.subscribe(() => heard.push('snapshot'))
  session.on('signed-out', failing)
  session.on('signed-out', () => heard.push('signed-out'))
  await during(browser, session.signOut())
  assert.deepEqual(heard, ['snapshot', 'signed-out'])
  assert.deepEqual(
    tab.errors.map(({ message }) => message),
    ['mine', 'mine'],
  )
})

test('a listener that was stopped is not called again', async () => {
  const { browser, session } = await signedIn()
  const heard = []
  session.subscribe(() => heard.push('snapshot'))()
  session.on('signed-out', () => heard.push('signed-out'))()
  await during(browser, session.signOut())
  assert.deepEqual(heard, [])
})

test('dispose leaves no timer, listener or channel, whatever is under way', async () => {
  for (const moment of ['quiet', 'refresh', 'waiting', 'failed', 'login', 'logout']) {
    const { browser, server, tab, session } = await signedIn()
    assert.ok(tab.timers.length && tab.listeners && tab.channels.size)
    const pending = []
    const delayed = () => ({ ...server.refresh(browser.cookie, {}), delay: 5 })
    if (moment === 'failed') {
      server.fault = () => ({ status: 503 })
      await browser.pass(250)
    }
    if (moment === 'refresh' || moment === 'waiting') server.fault = delayed
    if (moment === 'waiting') {
      const other = browser.tab()
      await browser.pass(0.01)
      other.close()
      pending.push(session.getAccessToken({ minValidity: 299 }))
    }
    if (moment === 'refresh') pending.push(session.switchTenant('acme'))
    await browser.pass(0.1)
    if (moment === 'login') pending.push(session.signIn(ann))
    if (moment === 'logout') pending.push(session.signOut())
    const results = Promise.allSettled(pending)
    session.dispose()
    const left = tab.timers.filter(({ call }) => call.name !== 'arrive') // An answer on its way is the network's.
    assert.deepEqual([left, tab.listeners, tab.channels.size], [[], 0, 0], moment)
    await during(browser, results)
    const requests = server.log.length
    tab.input()
    tab.fire(tab.window, 'pageshow', { persisted: true })
    await browser.pass(3600)
    assert.equal(tab.channels.size, 0)
    assert.equal(tab.listeners, 0)
    assert.equal(tab.timers.length, 0)
    assert.equal(server.log.length, requests, moment)
    await assert.rejects(session.getAccessToken({ minValidity: 1e9 }), { name: 'SessionError' })
  }
})

test('under Node importing has no effect, and a session is unknown and has no timer', async () => {
  const code = `
    const before = Object.keys(globalThis).length
    const { createSession } = await import(${JSON.stringify(fileURLToPath(MODULE))})
    if (Object.keys(globalThis).length !== before) throw new Error('a global')
    const session = createSession({ base: '/auth/', tenant: 'acme' })
    await session.ready
    session.subscribe(() => {})
    const error = await session.getAccessToken().catch((error) => error)
    console.log(JSON.stringify([session.getSnapshot().status, session.getSnapshot().tenant, error.code]))
    console.log(process.getActiveResourcesInfo().filter((name) => /Timeout|Message|TCP/.test(name)).join())
    session.dispose()
  `
  const output = execFileSync(process.execPath, ['--input-type=module', '--eval', code], { encoding: 'utf8', timeout: 10_000 })
  assert.equal(output, '["unknown","acme","UNAVAILABLE"]\n\n')
})

test('a token answer of the project’s own way of signing in will do', async () => {
  const browser = new Browser()
  const tab = browser.tab()
  await browser.pass(0.1)
  const { body, cookie } = browser.server.login(ann)
  browser.cookie = cookie
  await during(browser, tab.session.signIn(body))
  assert.equal(tab.snapshot.userId, 'ann')
  assert.equal(browser.server.requests('login/').length, 0)
})
