// Signing in and out over several tabs: epochs, the back/forward cache, sign-outs that cannot be sent.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Browser, during, signedIn } from './fakes/browser.js'
import { claimsOf } from './fakes/server.js'

const code = (expected) => (error) => error.name === 'SessionError' && error.code === expected
const ann = { email: 'ann', password: 'ann secret' }
const bob = { email: 'bob', password: 'bob secret' }

/** Two tabs of one browser, Ann signed in. */
async function twoTabs(options) {
  const { browser, server, tab, session } = await signedIn(options)
  const other = browser.tab(options)
  await browser.pass(0.1)
  server.log.length = 0
  return { browser, server, tab, session, other }
}

test('signing out in one tab signs out all, at once', async () => {
  for (const without of [[], ['BroadcastChannel'], ['localStorage', 'sessionStorage']]) {
    const { browser, server, session, other } = await twoTabs({ without })
    assert.equal(other.status, 'signed-in')
    const done = session.signOut()
    assert.equal(session.getSnapshot().status, 'signed-out')
    await browser.pass(0.01)
    if (without[0] === 'BroadcastChannel') other.fire(other.window, 'storage')
    assert.equal(other.status, 'signed-out')
    assert.equal(other.snapshot.reason, 'logout')
    assert.equal(await during(browser, done), true)
    assert.equal(server.sessions.get('s1').ended, 'logout')
    assert.equal(server.requests('logout/').length, 1)
    await assert.rejects(other.session.getAccessToken(), code('SESSION_ENDED'))
  }
})

test('a refresh that is under way revives nothing', async () => {
  const { browser, server, tab, session } = await signedIn({ keepAlive: false })
  await browser.pass(301)
  // It was answered before the sign-out, and arrives after it.
  server.fault = (path) => path === 'token/' && { ...server.refresh(browser.cookie, {}), delay: 3 }
  const waiting = session.getAccessToken().catch((error) => error)
  await browser.pass(1)
  await during(browser, session.signOut())
  assert.equal((await during(browser, waiting, 5)).code, 'SESSION_ENDED')
  assert.equal(tab.status, 'signed-out')
  assert.equal(browser.cookie, null)
})

test('a sign-in that is under way when the user signs out counts for nothing', async () => {
  const browser = new Browser()
  const { server } = browser
  const tab = browser.tab()
  await browser.pass(0.1)
  server.fault = (path) => path === 'login/' && { ...server.login(ann), delay: 2 }
  const signing = tab.session.signIn(ann).catch((error) => error)
  await browser.pass(1)
  await during(browser, tab.session.signOut())
  assert.equal((await during(browser, signing, 3)).code, 'SESSION_CHANGED')
  assert.equal(tab.status, 'signed-out')
  assert.equal(server.sessions.get('s1').ended, 'logout')
})

test('signing in in one tab signs in all, without a request of theirs', async () => {
  const { browser, server, session, other } = await twoTabs()
  await during(browser, session.signOut())
  await during(browser, session.signIn(ann))
  assert.equal(other.status, 'signed-in')
  assert.equal(await other.session.getAccessToken(), await session.getAccessToken())
  assert.equal(server.refreshes.length, 0)
})

test('signing in as somebody else: no tab mixes the two', async () => {
  const { browser, tab, session, other } = await twoTabs({ tenant: 'acme' })
  const calls = other.session.fetch('/api/').then((response) => response.json())
  await during(browser, calls)
  await during(browser, session.signIn({ ...bob }))
  for (const each of [tab, other]) {
    assert.equal(each.status, 'signed-in')
    assert.equal(each.snapshot.userId, 'bob')
    assert.equal(each.snapshot.tenant, null)
    assert.equal(claimsOf(await each.session.getAccessToken()).sub, 'bob')
  }
})

test('a call made for one user is neither sent nor answered as another', async () => {
  const { browser, server, session, other } = await twoTabs({ keepAlive: false })
  await browser.pass(301)
  // Waiting for a token while somebody else signs in.
  server.fault = (path) => path === 'token/' && new Error('lost')
  await during(browser, other.session.getAccessToken().catch(() => {}))
  server.fault = (path) => path === 'token/' && { ...server.refresh(browser.cookie, {}), delay: 3 }
  await browser.pass(3)
  const call = other.session.fetch('/api/', { method: 'POST', body: 'of Ann' }).catch((error) => error)
  await browser.pass(0.5)
  server.fault = () => undefined
  await during(browser, session.signIn(bob))
  const error = await during(browser, call, 5)
  assert.equal(error.code, 'SESSION_CHANGED')
  assert.ok(server.log.every(({ text }) => text !== 'of Ann'))
  assert.equal(other.snapshot.userId, 'bob')
})

test('a cookie that was replaced outside of the module is noticed by all tabs', async () => {
  const { browser, server, tab } = await signedIn()
  const other = browser.tab({ tenant: 'acme' })
  await browser.pass(0.1)
  other.hide()
  browser.cookie = server.login(bob).cookie
  await browser.pass(241)
  assert.equal(tab.snapshot.userId, 'bob')
  assert.equal(other.snapshot.userId, null)
  other.hide(false)
  await browser.pass(0.1)
  assert.equal(other.snapshot.userId, 'bob')
})

test('an end that one tab learns of is known to all, with the reason', async () => {
  const { browser, server, tab, other } = await twoTabs()
  server.end('password_changed')
  const response = await during(browser, tab.session.fetch('/api/'))
  assert.equal(response.status, 401)
  for (const each of [tab, other]) {
    assert.equal(each.status, 'signed-out')
    assert.equal(each.snapshot.reason, 'password_changed')
  }
})

test('a page from the back/forward cache looks before it shows', async () => {
  const { browser, tab, session, other } = await twoTabs()
  other.intoCache()
  assert.equal(other.channels.size, 0)
  await during(browser, session.signOut())
  assert.equal(other.status, 'signed-in')
  other.outOfCache()
  assert.notEqual(other.status, 'signed-in')
  await browser.pass(0.1)
  assert.equal(other.status, 'signed-out')
  assert.equal(other.heard('signed-in').length, 1)
  assert.equal(other.channels.size, 1)
  assert.equal(tab.status, 'signed-out')
})

test('a page from the back/forward cache asks the server also where no epoch was begun', async () => {
  for (const ended of [true, false]) {
    const { browser, server, tab } = await signedIn()
    tab.intoCache()
    await browser.pass(30)
    if (ended) server.end('ended_by_admin')
    tab.outOfCache()
    assert.equal(tab.status, 'unknown')
    await browser.pass(0.1)
    assert.equal(tab.status, ended ? 'signed-out' : 'signed-in')
    assert.equal(server.refreshes.length, 1)
  }
})

test('a frozen tab knows of the sign-out when it wakes', async () => {
  const { browser, session, other } = await twoTabs({ without: ['BroadcastChannel'] })
  other.freeze()
  await during(browser, session.signOut())
  other.thaw()
  assert.equal(other.status, 'signed-out')
})

test('a sign-out that cannot be sent is kept, over a reload too, and sent before the next refresh', async () => {
  const { browser, server, tab, session } = await signedIn()
  browser.offline = true
  assert.equal(await during(browser, session.signOut()), false)
  assert.equal(tab.status, 'signed-out')
  let again = tab.reload()
  await during(browser, again.session.ready)
  assert.equal(again.status, 'signed-out')
  assert.equal(again.snapshot.reason, 'logout')
  browser.offline = false
  again = again.reload()
  await during(browser, again.session.ready)
  assert.deepEqual(
    server.log.map(({ path }) => path),
    ['logout/', 'token/'],
  )
  assert.equal(again.status, 'signed-out')
  assert.equal(server.sessions.get('s1').ended, 'logout')
  await browser.pass(3600)
  assert.equal(server.log.length, 2)
})

test('a sign-out that cannot be sent is sent when the browser is online again', async () => {
  const { browser, server, tab, session } = await signedIn()
  browser.offline = true
  await during(browser, session.signOut())
  await browser.pass(300)
  browser.offline = false
  tab.fire(tab.window, 'online')
  await browser.pass(0.1)
  assert.equal(server.sessions.get('s1').ended, 'logout')
  assert.equal(server.refreshes.length, 0)
  assert.equal(tab.timers.length, 0)
})

test('a sign-out that the server refuses for good blocks nobody', async () => {
  const { browser, server, tab, session } = await signedIn()
  server.fault = (path) => path === 'logout/' && { status: 403, body: { code: 'INVALID_REQUEST', terminal: false } }
  await during(browser, session.signOut())
  const [kept] = [...browser.local.values()].map((value) => JSON.parse(value))
  assert.equal(kept.out, false)
  await during(browser, session.signIn(ann))
  assert.equal(tab.status, 'signed-in')
})

test('signing in after a sign-out that was not sent ends the old session and keeps the new', async () => {
  const { browser, server, tab, session } = await signedIn()
  browser.offline = true
  await during(browser, session.signOut())
  browser.offline = false
  await during(browser, session.signIn(bob))
  await browser.pass(600)
  assert.equal(tab.snapshot.userId, 'bob')
  assert.equal(server.sessions.get('s1').ended, 'logout')
  assert.equal(server.sessions.get('s2').ended, null)
})

test('what is kept holds no token', async () => {
  const { browser, tab, session } = await signedIn({ tenant: 'acme' })
  const token = await session.getAccessToken()
  const kept = JSON.stringify([[...browser.local], [...tab.session_]])
  assert.ok(kept.includes('acme') && kept.includes('epoch'))
  for (const secret of [token, token.split('.')[1], 'secret', browser.cookie]) assert.ok(!kept.includes(secret))
})

test('the password given in one tab lets all tabs go on, also one whose refresh was under way', async () => {
  const { browser, server, tab, session, other } = await twoTabs({ keepAlive: false })
  await browser.pass(301)
  server.fault = (path) =>
    path === 'token/' && server.sessions.get('s1').oldest === 0
      ? { status: 400, body: { code: 'INVALID_TOKEN', terminal: true } }
      : undefined
  const waiting = other.session.getAccessToken()
  await browser.pass(0.01)
  server.fault = () => undefined
  await during(browser, session.reauthenticate({ password: 'ann secret' }))
  assert.equal(claimsOf(await during(browser, waiting, 3)).gen, server.sessions.get('s1').gen)
  assert.equal(tab.status, 'signed-in')
  assert.equal(other.status, 'signed-in')
})

test('a refresh token that is refused twice signs out', async () => {
  const { browser, server, tab } = await signedIn()
  server.sessions.clear()
  await browser.pass(242)
  assert.equal(tab.status, 'signed-out')
  assert.equal(tab.snapshot.reason, 'INVALID_TOKEN')
  assert.equal(server.refreshes.length, 2)
})

test('a missing proof of the device signs out with that reason', async () => {
  const { browser, server, tab } = await signedIn()
  server.fault = () => ({ status: 401, body: { code: 'DEVICE_PROOF_REQUIRED', terminal: true } })
  await browser.pass(241)
  assert.equal(tab.status, 'signed-out')
  assert.equal(tab.snapshot.reason, 'DEVICE_PROOF_REQUIRED')
})
