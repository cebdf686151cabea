// The session's `fetch` and `devices`: where the token goes, what is sent once more, what answers mean.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { test } from 'node:test'

import { during, signedIn } from './fakes/browser.js'
import { Refusal } from './fakes/server.js'

const code = (expected) => (error) => error.name === 'SessionError' && error.code === expected
const json = async (promise) => (await promise).json()

test('the token goes to the page’s own origin, and to no other that is not named', async () => {
  const { browser, server, session } = await signedIn()
  const named = browser.tab({ origins: ['https://api.example.com'] })
  await browser.pass(0.1)
  server.fault = (path) => (path.startsWith('http') || path.startsWith('/') ? { status: 200, body: {} } : undefined)
  for (const url of ['/api/', 'https://app.example.com/api/', 'https://app.example.com:444/', 'https://api.example.com/'])
    await during(browser, session.fetch(url))
  const own = await session.getAccessToken()
  const sent = () => server.log.filter(({ path }) => path.startsWith('/')).map(({ url, bearer }) => [url, bearer])
  assert.deepEqual(sent().slice(0, 4), [
    ['https://app.example.com/api/', own],
    ['https://app.example.com/api/', own],
    ['https://app.example.com:444/', null],
    ['https://api.example.com/', null],
  ])
  const token = await named.session.getAccessToken()
  for (const url of ['/api/', 'https://api.example.com/', 'https://api.example.com.evil.example/'])
    await during(browser, named.session.fetch(url))
  assert.deepEqual(sent().slice(4).map(([, bearer]) => bearer), [null, token, null])
})

test('a header of the caller’s own is left alone', async () => {
  const { browser, server, session } = await signedIn()
  server.fault = () => ({ status: 200, body: {} })
  await during(browser, session.fetch('/api/', { headers: { Authorization: 'Bearer other' } }))
  assert.equal(server.log.at(-1).bearer, 'other')
})

test('after EXPIRED_TOKEN the token is refreshed and the request sent once more, with its body', async () => {
  for (const request of [
    ['/api/', { method: 'POST', body: 'text' }],
    ['/api/', { method: 'POST', body: new URLSearchParams({ a: 'text' }) }],
    ['/api/', { method: 'POST', body: new Blob(['text']) }],
    [new Request('https://app.example.com/api/', { method: 'POST', body: 'text' })],
  ]) {
    const { browser, server, session } = await signedIn()
    server.sessions.get('s1').oldest = 1 // As after the password was given elsewhere.
    server.sessions.get('s1').gen = 1
    browser.cookie = 's1.1'
    const answer = await during(browser, json(session.fetch(...request)))
    assert.match(answer.text, /text$/)
    assert.deepEqual(
      server.log.map(({ path }) => path),
      ['/api/', 'token/', '/api/'],
    )
  }
})

test('a stream cannot be sent twice, and the answer is handed over', async () => {
  const { browser, server, session } = await signedIn()
  server.resource = () => new Refusal('EXPIRED_TOKEN', { status: 401 })
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode('stream'))
      controller.close()
    },
  })
  const response = await during(browser, session.fetch('/api/', { method: 'POST', body, duplex: 'half' }))
  assert.equal(response.status, 401)
  assert.equal(server.requests('/api/').length, 1)
  assert.equal(server.requests('/api/')[0].text, 'stream')
})

test('it is sent once more by count, whatever the answer', async () => {
  const { browser, server, session, tab } = await signedIn()
  server.resource = () => new Refusal('EXPIRED_TOKEN', { status: 401 })
  const response = await during(browser, session.fetch('/api/'))
  assert.equal(response.status, 401)
  assert.equal((await response.json()).code, 'EXPIRED_TOKEN')
  assert.equal(server.requests('/api/').length, 2)
  assert.equal(server.refreshes.length, 1)
  assert.equal(tab.status, 'signed-in')
})

test('many calls after one expiry cost one refresh', async () => {
  const { browser, server, session } = await signedIn({ keepAlive: false })
  browser.clockError = -3600e3
  browser.monotonic -= 1
  server.sessions.get('s1').gen = server.sessions.get('s1').oldest = 1
  browser.cookie = 's1.1'
  const answers = await during(browser, Promise.all(Array.from({ length: 10 }, () => json(session.fetch('/api/')))))
  assert.ok(answers.every(({ user }) => user === 'ann'))
  assert.equal(server.refreshes.length, 1)
})

test('an expired token whose refresh fails is a typed error', async () => {
  const { browser, server, session } = await signedIn()
  server.resource = () => new Refusal('EXPIRED_TOKEN', { status: 401 })
  server.fault = (path) => path === 'token/' && { status: 503 }
  await assert.rejects(during(browser, session.fetch('/api/')), (error) => error.status === 503 && !error.terminal)
})

test('a view that asks for a recent password is told with its age, and the session goes on', async () => {
  const { browser, server, tab, session } = await signedIn()
  server.resource = () => new Refusal('REAUTHENTICATION_REQUIRED', { status: 401, max_age: 300 })
  const response = await during(browser, session.fetch('/api/'))
  assert.equal((await response.json()).code, 'REAUTHENTICATION_REQUIRED')
  assert.deepEqual(tab.heard('reauthenticate'), [{ maxAge: 300 }])
  assert.equal(tab.status, 'signed-in')
})

test('a resource that finds the tenant idle, or the session ended, is heard', async () => {
  const { browser, server, tab, session } = await signedIn({ tenant: 'acme' })
  server.resource = () => new Refusal('TENANT_IDLE', { status: 401 })
  await during(browser, session.fetch('/api/'))
  assert.deepEqual(tab.heard('tenant-idle'), [{ tenant: 'acme' }])
  assert.equal(tab.status, 'reauthenticate')
  server.resource = () => undefined
  await during(browser, session.reauthenticate({ password: 'ann secret' }))
  server.end('version_raised')
  assert.equal((await during(browser, session.fetch('/api/'))).status, 401)
  assert.deepEqual(tab.heard('signed-out'), [{ reason: 'version_raised' }])
  await assert.rejects(session.fetch('/api/'), (error) => error.terminal && error.reason === 'version_raised')
})

test('other answers are handed over as they are', async () => {
  for (const status of [200, 204, 400, 401, 403, 404, 500]) {
    const { browser, server, tab, session } = await signedIn()
    server.fault = () => ({ status, body: 'no JSON' })
    assert.equal((await during(browser, session.fetch('/api/'))).status, status)
    assert.equal(tab.status, 'signed-in')
    assert.equal(server.log.length, 1)
  }
})

test('an AbortSignal is honoured while it waits for a token and while it waits for the answer', async () => {
  const { browser, server, session } = await signedIn({ keepAlive: false })
  const abort = new AbortController()
  server.fault = (path) => path === '/api/' && { status: 200, body: {}, delay: 60 }
  const call = session.fetch('/api/', { signal: abort.signal }).catch((error) => error)
  await browser.pass(1)
  abort.abort()
  assert.equal((await during(browser, call)).name, 'AbortError')

  await browser.pass(301)
  server.fault = (path) => path === 'token/' && { ...server.refresh(browser.cookie, {}), delay: 5 }
  const second = new AbortController()
  const waiting = session.fetch('/api/', { signal: second.signal }).catch((error) => error)
  await browser.pass(1)
  const before = server.requests('/api/').length
  second.abort()
  assert.equal((await during(browser, waiting)).name, 'AbortError')
  // The refresh, which others may wait for, goes on.
  await during(browser, session.getAccessToken(), 5)
  assert.equal(server.requests('/api/').length, before)
  await assert.rejects(session.fetch('/api/', { signal: AbortSignal.abort() }), { name: 'AbortError' })
})

test('a call marked as background makes its refresh background too', async () => {
  for (const headers of [{}, { 'X-Session-Background': '1' }]) {
    const { browser, server, session } = await signedIn({ keepAlive: false })
    await browser.pass(301)
    await during(browser, session.fetch('/api/', { headers }))
    assert.equal(server.refreshes[0].parameters.background, headers['X-Session-Background'] && 'true')
  }
})

test('devices: listed, renamed, ended', async () => {
  const { browser, server, tab, session } = await signedIn()
  server.start('ann')
  server.start('ann')
  const ids = (await during(browser, session.devices.list())).map(({ id }) => id)
  assert.deepEqual(ids, ['s1', 's2', 's3'])
  assert.equal((await during(browser, session.devices.rename('s2', 'Phone & tablet'))).device_name, 'Phone & tablet')
  await during(browser, session.devices.end('s2'))
  assert.equal(server.sessions.get('s2').ended, 'ended_by_user')
  assert.equal(await during(browser, session.devices.endOthers()), 1)
  assert.equal(tab.status, 'signed-in')
  await assert.rejects(during(browser, session.devices.end('s9')), (error) => error.status === 404)
  browser.offline = true
  await assert.rejects(during(browser, session.devices.list()), code('NETWORK_ERROR'))
})

test('ending the own session, or all, signs out in all tabs', async () => {
  for (const [end, reason] of [
    [(devices) => devices.end('current'), 'logout'],
    [(devices) => devices.end('s1'), 'logout'],
    [(devices) => devices.endAll(), 'ended_by_user'],
  ]) {
    const { browser, tab, session } = await signedIn()
    const other = browser.tab()
    await browser.pass(0.1)
    await during(browser, end(session.devices))
    for (const each of [tab, other]) {
      assert.equal(each.status, 'signed-out')
      assert.equal(each.snapshot.reason, reason)
    }
  }
})

test('no error holds a token, also when the server repeats it', async () => {
  const { browser, server, session } = await signedIn()
  const token = await session.getAccessToken()
  server.fault = () => ({ status: 400, body: { code: 'INVALID_REQUEST', detail: token, error_description: token } })
  const errors = await during(
    browser,
    Promise.all(
      [session.devices.list(), session.signIn({ email: 'ann', password: 'my secret' })].map((promise) =>
        promise.catch((error) => error),
      ),
    ),
  )
  for (const error of errors) {
    assert.equal(error.code, 'INVALID_REQUEST')
    const all = `${error} ${error.stack} ${JSON.stringify(error)} ${error.cause}`
    assert.ok(!all.includes(token) && !all.includes('my secret'))
  }
})

test('a redirect to another origin does not carry the token', async () => {
  // Real servers and the fetch of this platform, which is what the module relies on.
  const heard = []
  const listen = (handler) =>
    new Promise((resolve) => {
      const server = createServer(handler).listen(0, '127.0.0.1', () => resolve(server))
    })
  const foreign = await listen((request, response) => {
    heard.push(['foreign', request.headers.authorization])
    response.end('{}')
  })
  const own = await listen((request, response) => {
    heard.push([request.url, request.headers.authorization])
    const to = request.url === '/away' ? `http://127.0.0.1:${foreign.address().port}/` : '/end'
    if (request.url === '/end') response.end('{}')
    else response.writeHead(302, { Location: to }).end()
  })
  const origin = `http://127.0.0.1:${own.address().port}`
  const { tab, session } = await signedIn({ origins: [origin] })
  const simulated = tab.send.bind(tab)
  tab.send = (input, init) => (input.url?.startsWith(origin) ? fetch(input, init) : simulated(input, init))
  await session.fetch(`${origin}/stay`)
  await session.fetch(`${origin}/away`)
  own.close()
  foreign.close()
  const bearer = `Bearer ${await session.getAccessToken()}`
  assert.deepEqual(heard, [
    ['/stay', bearer],
    ['/end', bearer],
    ['/away', bearer],
    ['foreign', undefined],
  ])
})
