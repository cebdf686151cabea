// Clocks that are wrong, and a network that is. Access tokens live 3 s, the grace period is 6 s.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { api, call, launch, load, open, passing, signIn, snapshot, told } from './chromium.js'
import { between } from './proxy.js'

const DAY = 86_400_000
const HOUR = 3_600_000

/** The clock of pages is ahead by `window.ahead`, in milliseconds. */
const wrongClock = (context, ahead) =>
  context.addInitScript((ahead) => {
    const Right = Date
    window.ahead = ahead
    window.Date = class extends Right {
      constructor(...parts) {
        if (parts.length) super(...parts)
        else super(Right.now() + window.ahead)
      }
      static now() {
        return Right.now() + window.ahead
      }
    }
  }, ahead)

const isWrongBy = (ahead) => async (test) => {
  const { context, log } = await launch(test)
  await wrongClock(context, ahead)
  const tab = await open(context)
  await signIn(tab)
  log.refreshes.length = 0
  await passing(6.5)
  assert.ok(log.refreshes.length >= 2 && log.refreshes.length <= 4, String(log.refreshes.length))
  assert.equal((await api(tab))[0], 200)
  assert.deepEqual(await told(tab, 'signed-out'), [])
  assert.deepEqual(await told(tab, 'idle-soon'), [])
  await load(tab, () => tab.reload())
  assert.equal((await snapshot(tab)).status, 'signed-in')
}

test('a clock that is a day fast: nobody is signed out and nothing loops', isWrongBy(DAY))

test('a clock that is a day slow: nobody is signed out and nothing loops', isWrongBy(-DAY))

test('a clock that jumps by an hour, there and back', async (test) => {
  const { context, log } = await launch(test)
  await wrongClock(context, 0)
  const tab = await open(context)
  await signIn(tab)
  for (const ahead of [HOUR, 0, -HOUR, 0]) {
    log.refreshes.length = 0
    await tab.evaluate((ahead) => void (window.ahead = ahead), ahead)
    assert.equal((await api(tab))[0], 200)
    await passing(2.5)
    assert.equal((await api(tab))[0], 200)
    // One at once where the token seems to be old, and one in its time.
    assert.ok(log.refreshes.length >= 1 && log.refreshes.length <= 3, String(log.refreshes.length))
  }
  assert.deepEqual(await told(tab, 'signed-out'), [])
})

test('a server that refuses for a while is not asked before the time it told', async (test) => {
  const { context } = await launch(test)
  const proxy = await between(test)
  const tab = await open(context, proxy)
  await signIn(tab)
  const refusal = JSON.stringify({ error: 'temporarily_unavailable', code: 'THROTTLED', terminal: false })
  proxy.onRefresh = async () => [429, { 'Retry-After': '4', 'Content-Type': 'application/json' }, refusal]
  proxy.refreshes = 0
  await passing(4.5)
  assert.equal(proxy.refreshes, 1)
  assert.deepEqual(await api(tab), ['THROTTLED'])
  const { status, degraded } = await snapshot(tab)
  assert.deepEqual([status, degraded], ['signed-in', true])
  proxy.onRefresh = (forward) => forward()
  await passing(3)
  assert.equal((await api(tab))[0], 200)
  assert.equal((await snapshot(tab)).degraded, false)
  assert.deepEqual(await told(tab, 'signed-out'), [])
  assert.ok(proxy.refreshes <= 4, String(proxy.refreshes))
})

test('an answer that is lost after the server rotated is made up for', async (test) => {
  const { context } = await launch(test)
  const proxy = await between(test)
  const tab = await open(context, proxy)
  await signIn(tab)
  const cookies = JSON.stringify(await context.cookies())
  const lost = []
  proxy.onRefresh = async (forward) => void lost.push(await forward())
  await passing(4)
  assert.deepEqual(new Set(lost.map(([status]) => status)), new Set([200]))
  assert.ok(lost[0][1]['set-cookie'])
  assert.equal(JSON.stringify(await context.cookies()), cookies)
  proxy.onRefresh = (forward) => forward()
  await passing(4)
  assert.equal((await api(tab))[0], 200)
  assert.notEqual(JSON.stringify(await context.cookies()), cookies)
  assert.deepEqual(await told(tab, 'signed-out'), [])
})

test('an answer that comes later than the grace period is given up and asked for again', async (test) => {
  const { context } = await launch(test)
  const proxy = await between(test)
  const tab = await open(context, proxy)
  await signIn(tab)
  let late = 0
  proxy.onRefresh = async (forward) => {
    const answer = await forward()
    if (!late++) await passing(7)
    return answer
  }
  proxy.refreshes = 0
  await passing(5.5)
  assert.ok(late, 'nothing was asked')
  const error = await call(tab, 'getAccessToken')
  assert.ok(typeof error === 'string' || error.failed === 'TIMEOUT', JSON.stringify(error))
  assert.equal((await told(tab, 'degraded')).length, 1)
  await passing(5.5)
  assert.equal((await api(tab))[0], 200)
  assert.equal((await snapshot(tab)).degraded, false)
  assert.deepEqual(await told(tab, 'signed-out'), [])
  assert.ok(proxy.refreshes >= 2 && proxy.refreshes <= 6, String(proxy.refreshes))
})
