// The browser module in one tab: signing in and out, keep-alive, failures.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Browser, during, signedIn } from './fakes/browser.js'
import { claimsOf } from './fakes/server.js'

const code = (expected) => (error) => error.name === 'SessionError' && error.code === expected

test('nobody is signed in: the first refresh says so, without a reason', async () => {
  const browser = new Browser()
  const tab = browser.tab()
  assert.equal(tab.status, 'unknown')
  await during(browser, tab.session.ready)
  assert.equal(tab.status, 'signed-out')
  assert.equal(tab.snapshot.reason, null)
  assert.deepEqual(tab.events, [['signed-out', { reason: null }]])
  await assert.rejects(tab.session.getAccessToken(), code('NO_SESSION'))
  await browser.pass(3600)
  assert.equal(browser.server.refreshes.length, 1)
  assert.equal(tab.timers.length, 0)
})

test('signing in tells who and until when', async () => {
  const { browser, tab } = await signedIn({ server: { idleTimeout: 900 } })
  assert.ok(Object.isFrozen(tab.snapshot))
  const { sessionExpiresAt, idleExpiresAt, ...rest } = tab.snapshot
  assert.match(sessionExpiresAt, /^2026-01-08T00:00:00/)
  assert.match(idleExpiresAt, /^2026-01-01T00:15:00/)
  const who = { userId: 'ann', sessionId: 's1', tenant: null }
  assert.deepEqual(rest, { status: 'signed-in', reason: null, ...who, degraded: false })
})

test('a wrong password is a typed error and changes nothing', async () => {
  const { browser, session, tab } = await signedIn()
  const before = tab.snapshot
  await assert.rejects(during(browser, session.signIn({ email: 'ann', password: 'wrong' })), code('INVALID_CREDENTIALS'))
  assert.equal(tab.snapshot, before)
})

test('a reload signs in again without a prompt', async () => {
  const { browser, tab } = await signedIn()
  const again = tab.reload()
  await during(browser, again.session.ready)
  assert.equal(again.status, 'signed-in')
  assert.equal(again.snapshot.userId, 'ann')
})

test('what goes to the server carries the cookie, follows no redirect and is not cached', async () => {
  const { browser, server, session } = await signedIn()
  await browser.pass(241)
  await during(browser, session.signOut())
  await during(browser, session.signIn({ email: 'ann', password: 'ann secret' }))
  assert.deepEqual(
    server.log.map(({ path, request: { method, credentials, redirect, cache, keepalive } }) => ({
      ...{ path, method, credentials, redirect, cache, keepalive },
    })),
    ['token/', 'logout/', 'login/'].map((path) => ({
      ...{ path, method: 'POST', credentials: 'include', redirect: 'error', cache: 'no-store' },
      keepalive: path === 'logout/', // The page may be left at once.
    })),
  )
  assert.equal(server.log[2].parameters.delivery, 'cookie')
})

test('opening a page is a sign of the user, opening it hidden is not', async () => {
  for (const hidden of [true, false]) {
    const { browser, server } = await signedIn()
    browser.tab({ hidden })
    await browser.pass(0.1)
    assert.equal(server.refreshes[0].parameters.background, hidden ? 'true' : undefined)
  }
})

test('keep-alive refreshes at refresh_in less a random tenth, not before', async () => {
  for (const [random, due] of [
    [0, 240],
    [1, 216],
  ]) {
    const { browser, server } = await signedIn()
    browser.random = random
    await during(browser, browser.tabs[0].session.switchTenant('acme'))
    server.log.length = 0
    await browser.pass(due - 0.5)
    assert.equal(server.refreshes.length, 0)
    await browser.pass(0.6)
    assert.equal(server.refreshes.length, 1)
  }
})

test('the snapshot is a new object only when its meaning changes', async () => {
  const { browser, server, tab, session } = await signedIn({ server: { refreshLifetime: 90 * 86400 } })
  const before = tab.snapshot
  await browser.pass(1000)
  assert.ok(server.refreshes.length >= 3)
  assert.equal(tab.snapshot, before)
  const told = []
  session.subscribe(() => told.push(tab.status))
  await during(browser, session.signOut())
  assert.notEqual(tab.snapshot, before)
  assert.deepEqual(told, ['signed-out'])
})

test('a token is good for as long as was asked, on both sides of the boundary', async () => {
  const { browser, server, session } = await signedIn({ keepAlive: false })
  const first = await session.getAccessToken()
  await browser.pass(289.5)
  assert.equal(await session.getAccessToken(), first)
  await browser.pass(0.6)
  const [second, third] = await during(browser, Promise.all([session.getAccessToken(), session.getAccessToken()]))
  assert.notEqual(second, first)
  assert.equal(second, third)
  assert.equal(server.refreshes.length, 1)
  assert.equal(await session.getAccessToken({ minValidity: 200 }), second)
})

test('a token that lives shorter than what is asked for is refreshed when its time has come, not at each call', async () => {
  const { browser, server, session } = await signedIn({ keepAlive: false, server: { lifetime: 3 } })
  for (let calls = 0; calls < 20; calls += 1) await session.getAccessToken()
  assert.equal(server.refreshes.length, 0)
  await browser.pass(2.1)
  await during(browser, session.getAccessToken())
  assert.equal(server.refreshes.length, 1)
})

test('all who wait share one refresh, its failure too', async () => {
  const { browser, server, session } = await signedIn({ keepAlive: false })
  await browser.pass(301)
  server.fault = () => new Error('lost')
  const errors = await during(
    browser,
    Promise.all([1, 2, 3].map(() => session.getAccessToken().catch((error) => error))),
  )
  assert.equal(server.refreshes.length, 1)
  assert.equal(errors[0].code, 'NETWORK_ERROR')
  assert.ok(errors.every((error) => error === errors[0]))
})

test('only terminal errors sign out', async () => {
  for (const status of [400, 403, 404, 409, 429, 500, 503]) {
    const { browser, server, tab } = await signedIn()
    server.fault = () => ({ status, body: { code: 'WHATEVER', terminal: false } })
    await browser.pass(400)
    assert.equal(tab.status, 'signed-in', String(status))
  }
  const { browser, server, tab } = await signedIn()
  server.end('ended_by_admin')
  await browser.pass(241)
  assert.equal(tab.status, 'signed-out')
  assert.equal(tab.snapshot.reason, 'ended_by_admin')
  assert.deepEqual(tab.events, [['signed-out', { reason: 'ended_by_admin' }]])
})

test('a page that something between here and the server answers is no answer', async () => {
  for (const body of ['<html>Sign in to the airport</html>', '{}', 'null', '']) {
    const { browser, server, tab, session } = await signedIn()
    server.fault = () => ({ status: 200, body })
    await browser.pass(301)
    assert.equal(tab.status, 'signed-in')
    await assert.rejects(during(browser, session.getAccessToken()), code('UNEXPECTED_ANSWER'))
  }
})

test('a failure is told as degraded, and the token that is still good is handed out', async () => {
  const { browser, server, tab, session } = await signedIn()
  const first = await session.getAccessToken()
  browser.offline = true
  await browser.pass(245)
  assert.equal(tab.snapshot.degraded, true)
  assert.equal(await during(browser, session.getAccessToken({ minValidity: 100 })), first)
  await browser.pass(60)
  await assert.rejects(during(browser, session.getAccessToken()), code('NETWORK_ERROR'))
  assert.equal(tab.status, 'signed-in')
  browser.offline = false
  tab.fire(tab.window, 'online')
  await browser.pass(0.1)
  assert.equal(tab.snapshot.degraded, false)
  assert.equal(server.refreshes.length, 1)
  assert.equal(tab.heard('degraded').length, 1)
})

test('failures back off from 1 to 60 s with full jitter', async () => {
  for (const random of [0, 1]) {
    const { browser, server } = await signedIn()
    browser.random = random
    server.fault = () => ({ status: 503 })
    await browser.pass(1400)
    const times = server.refreshes.map(({ at }) => at / 1000)
    const waits = times.slice(1).map((time, index) => Math.round(time - times[index]))
    if (random) assert.deepEqual(waits.slice(0, 7), [2, 4, 8, 16, 32, 60, 60])
    else assert.deepEqual(new Set(waits), new Set([1]))
  }
})

test('calls while it backs off fail at once and ask nobody', async () => {
  const { browser, server, session } = await signedIn({ keepAlive: false })
  await browser.pass(301)
  browser.random = 1
  server.fault = () => ({ status: 503, body: { code: 'ISSUE_FAILED', terminal: false } })
  for (let times = 0; times < 15; times += 1) {
    await assert.rejects(during(browser, session.getAccessToken(), 0.05), code('ISSUE_FAILED'))
    await assert.rejects(during(browser, session.fetch('/api/'), 0.05), code('ISSUE_FAILED'))
  }
  assert.equal(server.log.length, 1)
})

test('Retry-After is obeyed, in seconds and as a date', async () => {
  const dated = (browser, seconds) => ({
    'Retry-After': new Date(browser.now + seconds * 1000).toUTCString(),
    Date: new Date(browser.now).toUTCString(),
  })
  for (const status of [429, 503])
    for (const headers of [() => ({ 'Retry-After': '120' }), (browser) => dated(browser, 120)]) {
      const { browser, server, tab } = await signedIn()
      browser.clockError = 86400e3
      server.fault = () => ({ status, headers: headers(browser) })
      await browser.pass(0.5)
      tab.fire(tab.window, 'focus')
      await browser.pass(0.5)
      assert.equal(server.refreshes.length, 1)
      server.fault = () => undefined
      tab.fire(tab.window, 'online')
      tab.fire(tab.window, 'focus')
      await browser.pass(118)
      assert.equal(server.refreshes.length, 1)
      await browser.pass(3)
      assert.equal(server.refreshes.length, 2)
    }
})

test('an answer later than half the grace period is given up', async () => {
  for (const [gracePeriod, delay, timely] of [
    [30, 14.9, true],
    [30, 15.1, false],
    [10, 4.9, true],
    [10, 5.1, false],
  ]) {
    const { browser, server, session } = await signedIn({ keepAlive: false, gracePeriod })
    await browser.pass(301)
    server.fault = () => {
      const answer = server.refresh(browser.cookie, {})
      return { ...answer, delay }
    }
    const before = browser.cookie
    const promise = during(browser, session.getAccessToken(), 16)
    if (timely) assert.equal(claimsOf(await promise).sub, 'ann')
    else await assert.rejects(promise, code('TIMEOUT'))
    assert.equal(browser.cookie === before, !timely)
    server.fault = () => undefined
    await browser.pass(3)
    assert.equal(claimsOf(await during(browser, session.getAccessToken())).sub, 'ann')
  }
})

test('an answer that waited for a frozen page is late too', async () => {
  const { browser, server, tab, session } = await signedIn({ keepAlive: false })
  await browser.pass(301)
  const promise = session.getAccessToken()
  await browser.settle()
  tab.freeze()
  await browser.pass(1)
  browser.sleep(3600)
  tab.thaw()
  await assert.rejects(during(browser, promise), code('TIMEOUT'))
  await browser.pass(3)
  await during(browser, session.getAccessToken())
  assert.equal(tab.status, 'signed-in')
  assert.equal(server.refreshes.length, 2)
})

test('a clock that is wrong, or set, neither signs out nor loops', async () => {
  for (const jump of [86400e3, -86400e3, 3600e3, -3600e3]) {
    const { browser, server, tab, session } = await signedIn()
    await browser.pass(10)
    browser.clockError = jump
    await browser.pass(600)
    assert.ok(server.refreshes.length >= 2 && server.refreshes.length <= 4, `${jump}: ${server.refreshes.length}`)
    assert.equal(tab.status, 'signed-in')
    const { exp } = claimsOf(await session.getAccessToken())
    assert.ok(exp * 1000 > browser.now)
  }
})

test('after sleep the tab looks at once, and refreshes once', async () => {
  const { browser, server, tab, session } = await signedIn()
  browser.sleep(3600)
  tab.fire(tab.document, 'visibilitychange')
  tab.fire(tab.window, 'focus')
  tab.fire(tab.window, 'pageshow', { persisted: false })
  assert.ok(claimsOf(await during(browser, session.getAccessToken())).exp * 1000 > browser.now)
  await browser.pass(60)
  assert.equal(server.refreshes.length, 1)
})

test('sleep that no event tells of is noticed within half a minute', async () => {
  const { browser, server } = await signedIn()
  await browser.pass(1)
  browser.sleep(3600)
  await browser.pass(31)
  assert.equal(server.refreshes.length, 1)
})

test('looking refreshes nothing that is fresh', async () => {
  const { browser, server, tab } = await signedIn()
  await browser.pass(200)
  for (const type of ['focus', 'online', 'pageshow']) tab.fire(tab.window, type)
  tab.hide()
  tab.hide(false)
  await browser.pass(1)
  assert.equal(server.refreshes.length, 0)
})

test('a hidden tab refreshes when asked, and in time for the refresh token', async () => {
  const { browser, server, tab, session } = await signedIn({ server: { refreshLifetime: 3600, maxLifetime: 86400 } })
  tab.hide()
  await browser.pass(1790)
  assert.equal(server.refreshes.length, 0)
  await browser.pass(20)
  assert.equal(server.refreshes.length, 1)
  await browser.pass(301)
  await during(browser, session.getAccessToken())
  assert.equal(server.refreshes.length, 2)
  await browser.pass(4 * 3600)
  assert.equal(tab.status, 'signed-in')
  tab.hide(false)
  const token = await during(browser, session.getAccessToken())
  assert.ok(claimsOf(token).exp * 1000 > browser.now + 50e3)
})

test('without keep-alive a tab refreshes only when asked', async () => {
  const { browser, server, tab } = await signedIn({ keepAlive: false })
  await browser.pass(3600)
  assert.equal(server.refreshes.length, 0)
  assert.equal(tab.status, 'signed-in')
})
