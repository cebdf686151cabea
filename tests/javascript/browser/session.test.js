// The browser module in Chromium against a served project. Access tokens live 3 s.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { api, call, launch, load, open, passing, served, signIn, snapshot, status, told } from './chromium.js'

test('twenty tabs over five tenants: no sign-out, no 401, one session, hardly more refreshes than needed', async (test) => {
  const { context, log } = await launch(test)
  const first = await open(context)
  await signIn(first)
  const tabs = [first]
  while (tabs.length < 20) tabs.push(await open(context))
  for (const [index, tab] of tabs.entries()) await call(tab, 'switchTenant', served.tenants[index % 5])
  log.refreshes.length = 0
  const answers = new Set()
  const start = performance.now()
  while (performance.now() - start < served.seconds * 1000) {
    for (const [status] of await Promise.all(tabs.map((tab) => api(tab)))) answers.add(status)
    await passing(1)
  }
  const needed = (5 * (performance.now() - start)) / 1900 // At 2 s, less a random tenth.
  const { length } = log.refreshes
  assert.ok(length <= needed * 1.5, `${length} refreshes, ${needed.toFixed()} needed`)
  assert.deepEqual(answers, new Set([200]))
  for (const [index, tab] of tabs.entries()) {
    const { status, tenant } = await snapshot(tab)
    assert.deepEqual([status, tenant], ['signed-in', served.tenants[index % 5]])
    assert.deepEqual(await told(tab, 'signed-out'), [])
  }
  assert.equal((await first.evaluate(async () => (await jwtSession).devices.list())).length, 1)
})

test('nobody is signed in: the page says so, and does not ask again', async (test) => {
  const { context, log } = await launch(test)
  const tab = await open(context)
  await passing(3)
  const { status, reason } = await snapshot(tab)
  assert.deepEqual([status, reason], ['signed-out', null])
  assert.deepEqual(await api(tab), ['NO_SESSION'])
  assert.deepEqual(await told(tab, 'refreshed'), [])
  assert.equal(log.refreshes.length, 1)
  assert.equal((await (await log.refreshes[0].response()).json()).code, 'NO_SESSION')
  assert.ok(!log.urls.some((url) => url.includes('/api/')))
})

test('a reload signs in without a prompt, with the tab’s own tenant', async (test) => {
  const { context } = await launch(test)
  const tab = await open(context)
  await signIn(tab)
  await call(tab, 'switchTenant', 't2')
  const other = await open(context)
  await call(other, 'switchTenant', 't3')
  for (const [each, tenant] of [
    [tab, 't2'],
    [other, 't3'],
  ]) {
    await load(each, () => each.reload())
    const { status, tenant: found } = await snapshot(each)
    assert.deepEqual([status, found], ['signed-in', tenant])
    assert.equal((await api(each))[0], 200)
  }
  // A copy of a tab has its session storage, as this one has that of its opener.
  const [copy] = await Promise.all([context.waitForEvent('page'), tab.evaluate(() => void window.open('/page/'))])
  await copy.waitForFunction(() => window.jwtSession)
  await status(copy, 'signed-in')
  assert.equal((await snapshot(copy)).tenant, 't2')
})

test('signing out in one tab: no other shows signed-in content, also from the back/forward cache', async (test) => {
  const { context } = await launch(test)
  const tab = await open(context)
  await signIn(tab)
  const other = await open(context)
  const left = await open(context)
  await left.evaluate(() => (window.same = true))
  await left.goto(`${served.origin}/auth/jwks.json`)
  assert.equal(await call(tab, 'signOut'), true)
  await status(other, 'signed-out')
  assert.equal((await snapshot(other)).reason, 'logout')
  assert.deepEqual(await api(other), ['SESSION_ENDED'])
  await left.goBack({ waitUntil: 'commit' })
  await left.waitForFunction(() => window.jwtSession)
  assert.equal(await left.evaluate(() => window.same), true, 'the page does not come from the back/forward cache')
  assert.notEqual((await snapshot(left)).status, 'signed-in')
})

test('signing in as somebody else in one tab: all tabs are that one’s', async (test) => {
  const { context } = await launch(test)
  const tab = await open(context)
  await signIn(tab)
  const other = await open(context)
  await signIn(tab, 1)
  await status(other, 'signed-in')
  await passing(0.5)
  for (const each of [tab, other]) assert.equal((await api(each))[1].email, served.users[1])
  assert.equal((await snapshot(other)).userId, (await snapshot(tab)).userId)
})

test('a session ended elsewhere: each tab says why at its next call', async (test) => {
  const { browser, context } = await launch(test)
  const tab = await open(context)
  await signIn(tab)
  const other = await open(context)
  const elsewhere = await open(await browser.newContext({ ignoreHTTPSErrors: true }))
  await signIn(elsewhere)
  await elsewhere.evaluate(async () => (await jwtSession).devices.endOthers())
  await api(tab)
  for (const each of [tab, other]) {
    await status(each, 'signed-out')
    assert.equal((await snapshot(each)).reason, 'ended_by_user')
  }
  assert.equal((await api(elsewhere))[0], 200)
})

test('offline for three lifetimes, and a server that is busy: nobody is signed out and nothing loops', async (test) => {
  const { context, log } = await launch(test)
  const tab = await open(context)
  await signIn(tab)
  await context.setOffline(true)
  log.refreshes.length = 0
  await passing(9)
  assert.ok(log.refreshes.length <= 9, String(log.refreshes.length))
  assert.equal((await api(tab))[0], 'NETWORK_ERROR')
  const { status: meanwhile, degraded } = await snapshot(tab)
  assert.deepEqual([meanwhile, degraded], ['signed-in', true])
  await context.setOffline(false)
  await passing(0.5)
  assert.equal((await api(tab))[0], 200)

  await context.route('**/token/', (route) => route.fulfill({ status: 503, headers: { 'Retry-After': '4' } }))
  await passing(3)
  log.refreshes.length = 0
  await passing(3)
  assert.ok(log.refreshes.length <= 1, String(log.refreshes.length))
  await context.unroute('**/token/')
  await passing(4.5)
  assert.equal((await api(tab))[0], 200)
  assert.deepEqual(await told(tab, 'signed-out'), [])
})

test('a frozen page goes on when it wakes', async (test) => {
  const { context, log } = await launch(test)
  const tab = await open(context)
  await signIn(tab)
  const protocol = await context.newCDPSession(tab)
  await protocol.send('Page.setWebLifecycleState', { state: 'frozen' })
  await passing(7)
  log.refreshes.length = 0
  await protocol.send('Page.setWebLifecycleState', { state: 'active' })
  await passing(0.5)
  assert.equal((await api(tab))[0], 200)
  assert.ok(log.refreshes.length <= 2)
  assert.deepEqual(await told(tab, 'signed-out'), [])
})

test('no token is kept or shown', async (test) => {
  const { context, log } = await launch(test)
  const tab = await open(context)
  await signIn(tab)
  await call(tab, 'switchTenant', 't1')
  const token = await call(tab, 'getAccessToken')
  await passing(3)
  const kept = await tab.evaluate(async () =>
    JSON.stringify([
      { ...localStorage },
      { ...sessionStorage },
      document.cookie,
      location.href,
      document.documentElement.outerHTML,
      (await indexedDB.databases()).length,
    ]),
  )
  const all = kept + log.urls.join() + log.console.join()
  assert.match(kept, /t1/)
  assert.ok(!all.includes(token.split('.')[1]) && !all.includes('jsr_') && !all.includes(served.password))
  assert.match(kept, /,0\]$/)
})
