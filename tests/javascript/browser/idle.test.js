// Sessions that end when the user does nothing for 6 s. Access tokens live 3 s, and keep-alive is on.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { api, call, launch, open, passing, served, signIn, snapshot, status, told } from './chromium.js'

const warned = { query: '?warn_before=3' }

test('a page that is left open times out, and warns before', async (test) => {
  const { context, log } = await launch(test)
  const tab = await open(context, warned)
  await signIn(tab)
  log.refreshes.length = 0
  await passing(2.2)
  assert.equal((await snapshot(tab)).status, 'signed-in')
  assert.deepEqual(await told(tab, 'idle-soon'), [])
  await passing(2.6)
  assert.equal((await snapshot(tab)).status, 'signed-in')
  const [[, { seconds }], ...more] = await told(tab, 'idle-soon')
  assert.ok(seconds >= 1 && seconds <= 3, String(seconds))
  await status(tab, 'signed-out')
  assert.deepEqual(await told(tab, 'signed-out'), [['signed-out', { reason: 'idle_timeout' }]])
  assert.deepEqual(await api(tab), ['SESSION_ENDED'])
  assert.deepEqual(more, [])
  const { length } = log.refreshes
  assert.ok(length >= 2 && length <= 6, String(length))
  await passing(2)
  assert.equal(log.refreshes.length, length)
})

test('input in one tab counts for all tabs of the tenant', async (test) => {
  const { context } = await launch(test)
  const tab = await open(context, warned)
  await signIn(tab)
  await call(tab, 'switchTenant', served.tenants[0])
  const other = await open(context, warned)
  await call(other, 'switchTenant', served.tenants[0])
  // Only the other can refresh, so it has to know of the input here.
  await tab.route('**/token/', (route) => route.abort())
  for (let count = 0; count < 9; count++) {
    await tab.mouse.click(5, 5)
    await passing(1)
  }
  for (const each of [tab, other]) {
    assert.equal((await snapshot(each)).status, 'signed-in')
    assert.deepEqual(await told(each, 'signed-out'), [])
    assert.deepEqual(await told(each, 'tenant-idle'), [])
  }
  assert.equal((await api(other))[0], 200)
})

test('a tenant that is idle asks for the password, which opens it; the tabs of another go on', async (test) => {
  const { context, log } = await launch(test)
  const tab = await open(context, warned)
  await signIn(tab)
  await call(tab, 'switchTenant', served.tenants[0])
  const idle = await open(context, warned)
  await call(idle, 'switchTenant', served.tenants[1])
  for (let count = 0; count < 8; count++) {
    await tab.mouse.click(5, 5)
    await passing(1)
  }
  await status(idle, 'reauthenticate')
  assert.equal((await snapshot(idle)).reason, 'TENANT_IDLE')
  assert.deepEqual(await told(idle, 'tenant-idle'), [['tenant-idle', { tenant: served.tenants[1] }]])
  assert.deepEqual(await api(idle), ['TENANT_IDLE'])
  assert.equal((await snapshot(tab)).status, 'signed-in')
  log.refreshes.length = 0
  await call(idle, 'reauthenticate', { password: served.password })
  const { status: opened, tenant } = await snapshot(idle)
  assert.deepEqual([opened, tenant], ['signed-in', served.tenants[1]])
  for (const each of [tab, idle]) {
    assert.equal((await api(each))[0], 200)
    assert.deepEqual(await told(each, 'signed-out'), [])
  }
  assert.ok(log.refreshes.length <= 3, String(log.refreshes.length))
})
