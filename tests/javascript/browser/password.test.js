// The password is asked for again, or changed. Access tokens live 3 s.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { api, call, launch, onServer, open, passing, served, signIn, snapshot, status, told } from './chromium.js'

const { password } = served

test('the server asks for the password: given by the cookie in one tab, the other goes on without a prompt', async (test) => {
  const { context, log } = await launch(test)
  const tab = await open(context)
  await signIn(tab)
  const other = await open(context)
  const { sessionId } = await snapshot(tab)
  await onServer(context, 'require-reauthentication')
  for (const each of [tab, other]) {
    await status(each, 'reauthenticate')
    assert.equal((await snapshot(each)).reason, 'REAUTHENTICATION_REQUIRED')
    assert.deepEqual((await told(each, 'reauthenticate'))[0], ['reauthenticate', { maxAge: null }])
    assert.deepEqual(await told(each, 'signed-out'), [])
  }
  log.refreshes.length = 0
  await passing(3)
  assert.ok(log.refreshes.length <= 1, String(log.refreshes.length))
  assert.deepEqual(await api(tab), ['REAUTHENTICATION_REQUIRED'])
  assert.equal((await call(tab, 'reauthenticate', { password: 'wrong' })).failed, 'INVALID_CREDENTIALS')
  assert.equal((await snapshot(tab)).status, 'reauthenticate')
  await call(tab, 'reauthenticate', { password })
  for (const each of [tab, other]) {
    await status(each, 'signed-in')
    assert.equal((await api(each))[0], 200)
    assert.equal((await snapshot(each)).sessionId, sessionId)
  }
  await passing(3)
  for (const each of [tab, other]) {
    assert.equal((await api(each))[0], 200)
    assert.deepEqual(await told(each, 'signed-out'), [])
  }
})

test('a view asks for a recent password: the session goes on, and the password opens the view in all tabs', async (test) => {
  const { context } = await launch(test)
  const tab = await open(context)
  await signIn(tab)
  const other = await open(context)
  await passing(3.5)
  const [answered, { code, max_age: maxAge, terminal }] = await api(tab, '/recent/')
  assert.deepEqual([answered, code, maxAge, terminal], [401, 'REAUTHENTICATION_REQUIRED', 3, false])
  assert.deepEqual(await told(tab, 'reauthenticate'), [['reauthenticate', { maxAge: 3 }]])
  assert.equal((await snapshot(tab)).status, 'signed-in')
  assert.equal((await api(tab))[0], 200)
  await call(tab, 'reauthenticate', { password })
  for (const each of [tab, other]) assert.equal((await api(each, '/recent/'))[0], 200)
  assert.deepEqual(await told(other, 'reauthenticate'), [])
})

test('the password is changed on the server: each tab says so at the next call', async (test) => {
  const { context } = await launch(test)
  const tab = await open(context)
  await signIn(tab)
  const other = await open(context)
  await onServer(context, 'set-password')
  assert.equal((await api(tab))[1].reason, 'password_changed')
  for (const each of [tab, other]) {
    await status(each, 'signed-out')
    assert.equal((await snapshot(each)).reason, 'password_changed')
    assert.deepEqual(await told(each, 'signed-out'), [['signed-out', { reason: 'password_changed' }]])
    assert.deepEqual(await api(each), ['SESSION_ENDED'])
  }
})
