// Tabs: who refreshes, what they hand to each other, tenants, input and idle time.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Browser, during, signedIn } from './fakes/browser.js'
import { claimsOf } from './fakes/server.js'

const code = (expected) => (error) => error.name === 'SessionError' && error.code === expected
const ann = { email: 'ann', password: 'ann secret' }

test('tabs of one tenant share refreshes; twenty tabs cost little more than one for each tenant', async () => {
  const browser = new Browser()
  const { server } = browser
  const tenants = ['t1', 't2', 't3', 't4', 't5']
  Object.assign(server, { lifetime: 3, tenants: { ann: tenants } })
  browser.cookie = server.login(ann).cookie
  let seed = 1
  Object.defineProperty(browser, 'random', { get: () => (seed = (seed * 16807) % 2147483647) / 2147483647 })
  const tabs = Array.from({ length: 20 }, (_, index) => browser.tab({ tenant: tenants[index % 5] }))
  await browser.pass(1)
  server.log.length = 0
  await browser.pass(60)
  const needed = (60 / 1.9) * 5
  assert.ok(server.refreshes.length < needed * 1.5, `${server.refreshes.length} refreshes, ${needed} needed`)
  for (const tab of tabs) {
    assert.equal(tab.status, 'signed-in')
    const token = await during(browser, tab.session.getAccessToken())
    assert.equal(claimsOf(token).tenantId, tab.snapshot.tenant)
    assert.deepEqual(tab.heard('signed-out'), [])
  }
  assert.equal(server.sessions.size, 1)
})

test('a token is handed to tabs of the same tenant and audience only', async () => {
  const { browser, server, session } = await signedIn({ keepAlive: false, tenant: 'acme' })
  const same = browser.tab({ keepAlive: false, tenant: 'acme' })
  const elsewhere = browser.tab({ keepAlive: false, tenant: 'globex' })
  const audience = browser.tab({ keepAlive: false, tenant: 'acme', audience: 'reports' })
  await browser.pass(301)
  server.log.length = 0
  const token = await during(browser, session.getAccessToken())
  assert.equal(await during(browser, same.session.getAccessToken()), token)
  assert.equal(server.refreshes.length, 1)
  assert.notEqual(await during(browser, elsewhere.session.getAccessToken()), token)
  assert.notEqual(await during(browser, audience.session.getAccessToken()), token)
  assert.equal(server.refreshes.length, 3)
  assert.equal(server.refreshes[2].parameters.audience, 'reports')
})

test('a tab waits for another one, but never longer than 2 s', async () => {
  for (const dies of [true, false]) {
    const { browser, server, tab, session } = await signedIn({ keepAlive: false })
    const other = browser.tab({ keepAlive: false })
    await browser.pass(301)
    server.log.length = 0
    if (dies) server.fault = () => ({ ...server.refresh(browser.cookie, {}), delay: 10 })
    session.getAccessToken().catch(() => {})
    await browser.pass(0.0015)
    if (dies) tab.close()
    server.fault = () => undefined
    const start = browser.monotonic
    const asked = other.session.getAccessToken()
    await browser.pass(dies ? 1.9 : 0.1)
    assert.equal(server.refreshes.length, 1)
    await during(browser, asked, 0.2)
    assert.equal(server.refreshes.length, dies ? 2 : 1)
    assert.ok(browser.monotonic - start < 2300)
  }
})

test('a tab that waits for another whose refresh fails tries for itself at once', async () => {
  const { browser, server, session } = await signedIn({ keepAlive: false })
  const other = browser.tab({ keepAlive: false })
  await browser.pass(301)
  server.log.length = 0
  server.fault = () => ({ status: 503 })
  session.getAccessToken().catch(() => {})
  await browser.pass(0.003)
  const asked = other.session.getAccessToken()
  server.fault = () => (server.log.length > 1 ? undefined : { status: 503 })
  assert.equal(claimsOf(await during(browser, asked, 0.1)).sub, 'ann')
  assert.equal(server.refreshes.length, 2)
})

test('without BroadcastChannel and storage each tab does by itself', async () => {
  const without = ['BroadcastChannel', 'localStorage', 'sessionStorage']
  const { browser, server, tab } = await signedIn({ without })
  const other = browser.tab({ without })
  await browser.pass(600)
  assert.equal(tab.status, 'signed-in')
  assert.equal(other.status, 'signed-in')
  assert.ok(server.refreshes.length <= 6)
})

test('a token that reached a frozen tab late counts from when it was answered', async () => {
  const { browser, session } = await signedIn({ keepAlive: false })
  const other = browser.tab({ keepAlive: false })
  await browser.pass(301)
  other.freeze()
  const old = await during(browser, session.getAccessToken())
  browser.sleep(400)
  other.thaw()
  await browser.pass(0.01)
  const token = await during(browser, other.session.getAccessToken())
  assert.notEqual(token, old)
  assert.ok(claimsOf(token).exp * 1000 > browser.now)
})

test('a token that is older than the own one is not taken', async () => {
  const { browser, session } = await signedIn({ keepAlive: false })
  const other = browser.tab({ keepAlive: false })
  await browser.pass(301)
  browser.messageDelay = 3000
  await during(browser, session.getAccessToken(), 1)
  const own = await during(browser, other.session.getAccessToken(), 1)
  await browser.pass(3)
  assert.equal(await other.session.getAccessToken(), own)
})

test('a tab keeps its tenant over a reload, and so does its copy', async () => {
  const { browser, tab, session } = await signedIn()
  await during(browser, session.switchTenant('acme'))
  assert.equal(tab.snapshot.tenant, 'acme')
  const copy = tab.duplicate()
  await browser.pass(0.1)
  assert.equal(copy.snapshot.tenant, 'acme')
  await during(browser, copy.session.switchTenant('globex'))
  const again = tab.reload()
  await browser.pass(0.1)
  assert.equal(again.snapshot.tenant, 'acme')
  assert.equal(copy.snapshot.tenant, 'globex')
  assert.equal(copy.reload({ tenant: 'acme' }).snapshot.tenant, 'acme')
})

test('a tenant that cannot be had leaves the tab with the one it has', async () => {
  const { browser, server, tab, session } = await signedIn({ tenant: 'acme' })
  const token = await session.getAccessToken()
  await assert.rejects(during(browser, session.switchTenant('hooli')), code('TENANT_FORBIDDEN'))
  assert.equal(tab.snapshot.tenant, 'acme')
  assert.equal(await session.getAccessToken(), token)
  await browser.pass(241)
  assert.equal(server.refreshes.at(-1).parameters.tenantId, 'acme')
  browser.offline = true
  await assert.rejects(during(browser, session.switchTenant('globex')), code('NETWORK_ERROR'))
  assert.equal(tab.snapshot.tenant, 'acme')
})

test('the answer for a tenant that was left counts for nothing', async () => {
  const { browser, server, tab, session } = await signedIn({ tenant: 'acme' })
  server.fault = (_path, { tenantId }) =>
    tenantId === 'globex' ? { ...server.refresh(browser.cookie, { tenantId }), delay: 3 } : undefined
  const first = session.switchTenant('globex').catch((error) => error)
  await browser.pass(1)
  await during(browser, session.switchTenant(null))
  assert.equal((await first).code, 'SESSION_CHANGED')
  await browser.pass(5)
  assert.equal(tab.snapshot.tenant, null)
  assert.equal(claimsOf(await session.getAccessToken()).tenantId, undefined)
})

test('a tab whose membership is lost is signed in without tenant after a reload', async () => {
  const { browser, server, tab } = await signedIn({ tenant: 'acme' })
  server.tenants.ann = []
  const again = tab.reload()
  await browser.pass(0.1)
  assert.equal(again.status, 'signed-in')
  assert.equal(again.snapshot.tenant, null)
})

test("a timer's refresh is background unless there was input since the last one, in any tab of the tenant", async () => {
  const { browser, server, tab } = await signedIn({ tenant: 'acme' })
  const same = browser.tab({ tenant: 'acme' })
  const elsewhere = browser.tab({ tenant: 'globex' })
  await browser.pass(0.1)
  elsewhere.hide()
  same.hide()
  const background = async () => {
    server.log.length = 0
    await browser.pass(241)
    return server.refreshes.map(({ parameters }) => parameters.background ?? 'false')
  }
  assert.deepEqual(await background(), ['true'])
  for (const type of ['pointerdown', 'keydown', 'wheel', 'touchstart']) {
    for (let times = 0; times < 5; times += 1) tab.input(type)
    assert.deepEqual(await background(), ['false'])
    assert.deepEqual(await background(), ['true'])
  }
  same.input()
  assert.deepEqual(await background(), ['false'])
  assert.deepEqual(await background(), ['true'])
  elsewhere.input()
  assert.deepEqual(await background(), ['true'])
})

test('input that came before a refresh that failed still counts', async () => {
  const { browser, server, tab } = await signedIn()
  tab.input()
  server.fault = () => ({ status: 503 })
  await browser.pass(250)
  server.fault = () => undefined
  await browser.pass(60)
  assert.equal(server.refreshes.at(-1).parameters.background, undefined)
})

test('a page left open with keep-alive still times out, and warns before', async () => {
  // Whatever the client's clock says.
  for (const clockError of [0, 86400e3, -86400e3]) {
    const { browser, server, tab } = await signedIn({ clockError, server: { idleTimeout: 900 } })
    await browser.pass(839)
    assert.deepEqual(tab.heard('idle-soon'), [])
    await browser.pass(2)
    for (let times = 0; times < 3; times += 1) tab.fire(tab.window, 'focus')
    await browser.pass(0.1)
    assert.deepEqual(tab.heard('idle-soon'), [{ seconds: 60 }])
    await browser.pass(62)
    assert.equal(tab.status, 'signed-out')
    assert.equal(tab.snapshot.reason, 'idle_timeout')
    assert.equal(tab.heard('idle-soon').length, 1)
    assert.ok(server.refreshes.length < 20)
  }
})

test('input keeps the session, also when it comes after the warning', async () => {
  const { browser, tab } = await signedIn({ server: { idleTimeout: 900 } })
  await browser.pass(850)
  assert.equal(tab.heard('idle-soon').length, 1)
  tab.input()
  await browser.pass(0.1)
  await browser.pass(800)
  assert.equal(tab.status, 'signed-in')
  assert.equal(tab.heard('idle-soon').length, 1)
  for (let minutes = 0; minutes < 30; minutes += 1) {
    tab.input()
    await browser.pass(60)
  }
  assert.equal(tab.heard('idle-soon').length, 1)
  assert.equal(tab.status, 'signed-in')
})

test('the warning comes before the maximum lifetime too, and input does not loop there', async () => {
  const { browser, server, tab } = await signedIn({ warnBefore: 30, server: { maxLifetime: 600 } })
  await browser.pass(569)
  assert.deepEqual(tab.heard('idle-soon'), [])
  await browser.pass(2)
  assert.equal(tab.heard('idle-soon').length, 1)
  const before = server.refreshes.length
  for (let times = 0; times < 50; times += 1) {
    tab.input()
    await browser.pass(0.1)
  }
  assert.ok(server.refreshes.length <= before + 2)
  await browser.pass(30)
  assert.equal(tab.snapshot.reason, 'max_lifetime')
})

test('an idle time shorter than the warning does not loop either', async () => {
  const { browser, server, tab } = await signedIn({ server: { idleTimeout: 40 } })
  for (let times = 0; times < 100; times += 1) {
    tab.input()
    await browser.pass(0.5)
  }
  assert.equal(tab.status, 'signed-in')
  assert.ok(server.refreshes.length <= 4, String(server.refreshes.length))
})

test('a tenant gone idle asks for the password and the other tabs go on', async () => {
  const { browser, server, tab, session } = await signedIn({ tenant: 'acme', server: { idleTimeout: 900 } })
  const other = browser.tab({ tenant: 'globex' })
  await browser.pass(0.1)
  for (let minutes = 0; minutes < 20; minutes += 1) {
    other.input()
    await browser.pass(60)
  }
  assert.equal(tab.status, 'reauthenticate')
  assert.equal(tab.snapshot.reason, 'TENANT_IDLE')
  assert.deepEqual(tab.heard('tenant-idle'), [{ tenant: 'acme' }])
  assert.equal(other.status, 'signed-in')
  const asked = server.refreshes.filter(({ parameters }) => parameters.tenantId === 'acme').length
  await browser.pass(600)
  assert.equal(server.refreshes.filter(({ parameters }) => parameters.tenantId === 'acme').length, asked)
  await assert.rejects(during(browser, session.getAccessToken()), code('TENANT_IDLE'))
  await assert.rejects(during(browser, session.reauthenticate({ password: 'wrong' })), code('INVALID_CREDENTIALS'))
  assert.equal(tab.status, 'reauthenticate')
  await during(browser, session.reauthenticate({ password: 'ann secret' }))
  assert.equal(tab.status, 'signed-in')
  assert.equal(tab.snapshot.tenant, 'acme')
  assert.equal(other.status, 'signed-in')
  assert.equal(server.sessions.size, 1)
})

test('a flagged user is asked for the password in all tabs, and giving it in one opens all', async () => {
  const { browser, server, tab, session } = await signedIn({ tenant: 'acme' })
  const other = browser.tab({ tenant: 'globex' })
  await browser.pass(0.1)
  server.sessions.get('s1').flagged = true
  await browser.pass(600)
  assert.equal(tab.status, 'reauthenticate')
  assert.equal(other.status, 'reauthenticate')
  assert.deepEqual(tab.heard('reauthenticate'), [{ maxAge: null }])
  await during(browser, session.reauthenticate({ password: 'ann secret' }))
  await browser.pass(0.1)
  assert.equal(tab.status, 'signed-in')
  assert.equal(other.status, 'signed-in')
})
