// The adapters with the libraries that they are for.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import axios from 'axios'
import { Window } from 'happy-dom'
import { act, createElement, useSyncExternalStore } from 'react'
import { get } from 'svelte/store'
import * as vue from 'vue'

import { attachSession } from '../../jwt_sessions/static/jwt_sessions/axios.js'
import { createUseSession } from '../../jwt_sessions/static/jwt_sessions/react.js'
import { sessionStore } from '../../jwt_sessions/static/jwt_sessions/svelte.js'
import { useSession } from '../../jwt_sessions/static/jwt_sessions/vue.js'
import { during, signedIn } from './fakes/browser.js'

/** Count who listens to a session. */
function counted(session) {
  let listeners = 0
  const subscribe = (listener) => {
    const stop = session.subscribe(listener)
    listeners += 1
    return () => {
      listeners -= 1
      stop()
    }
  }
  return [{ ...session, subscribe }, () => listeners]
}

test('React renders again when the session changes, and stops with the component', async () => {
  const window = new Window()
  const { document } = window
  Object.assign(globalThis, { window, document, IS_REACT_ACT_ENVIRONMENT: true })
  // From Node 21 on there is one that cannot be assigned to.
  Object.defineProperty(globalThis, 'navigator', { value: window.navigator, configurable: true })
  const { createRoot } = await import('react-dom/client')
  const { browser, server, session } = await signedIn({ server: { refreshLifetime: 90 * 86400 } })
  const [watched, listeners] = counted(session)
  const hook = createUseSession(watched, useSyncExternalStore)
  let renders = 0
  const Status = () => {
    renders += 1
    return createElement('p', null, hook().status)
  }
  const root = createRoot(document.body)
  await act(() => root.render(createElement(Status)))
  assert.equal(document.body.textContent, 'signed-in')
  await act(() => browser.pass(600))
  assert.equal(server.refreshes.length, 2)
  assert.equal(renders, 1)
  await act(() => during(browser, session.signOut()))
  assert.equal(document.body.textContent, 'signed-out')
  assert.equal(listeners(), 1)
  await act(() => root.unmount())
  assert.equal(listeners(), 0)
})

test('React on a server renders the snapshot', async () => {
  const { renderToString } = await import('react-dom/server')
  const { session } = await signedIn()
  const hook = createUseSession(session, useSyncExternalStore)
  assert.equal(renderToString(createElement(() => createElement('p', null, hook().userId))), '<p>ann</p>')
})

test('Vue follows the session until the scope ends', async () => {
  const { browser, session } = await signedIn()
  const [watched, listeners] = counted(session)
  const scope = vue.effectScope()
  const seen = []
  scope.run(() => {
    const snapshot = useSession(watched, vue)
    vue.watchEffect(() => seen.push(snapshot.value.status), { flush: 'sync' })
  })
  await during(browser, session.signOut())
  assert.deepEqual(seen, ['signed-in', 'signed-out'])
  assert.equal(listeners(), 1)
  scope.stop()
  assert.equal(listeners(), 0)
})

test('Vue outside of a scope warns of nothing', async (context) => {
  const { session } = await signedIn()
  const warn = context.mock.method(console, 'warn', () => {})
  assert.equal(useSession(session, vue).value.status, 'signed-in')
  assert.equal(warn.mock.callCount(), 0)
})

test('Svelte reads the session as a store', async () => {
  const { browser, session } = await signedIn()
  const [watched, listeners] = counted(session)
  const store = sessionStore(watched)
  assert.equal(get(store).status, 'signed-in')
  assert.equal(listeners(), 0)
  const seen = []
  const stop = store.subscribe(({ status }) => seen.push(status))
  await during(browser, session.signOut())
  assert.deepEqual(seen, ['signed-in', 'signed-out'])
  stop()
  assert.equal(listeners(), 0)
})

test('axios sends the token, once more after EXPIRED_TOKEN, and to no other origin', async () => {
  const { browser, server, session } = await signedIn()
  const api = axios.create({ baseURL: 'https://app.example.com/' })
  attachSession(api, session)
  server.sessions.get('s1').gen = server.sessions.get('s1').oldest = 1
  browser.cookie = 's1.1'
  const { data } = await during(browser, api.post('api/', { a: 1 }, { params: { page: 2 } }))
  assert.deepEqual([data.user, data.text], ['ann', '{"a":1}'])
  assert.deepEqual(
    server.log.map(({ url }) => url),
    ['https://app.example.com/api/?page=2', 'https://app.example.com/auth/token/', 'https://app.example.com/api/?page=2'],
  )
  server.fault = () => ({ status: 200, body: {} })
  await during(browser, api.get('https://other.example.com/'))
  assert.equal(server.log.at(-1).bearer, null)
})

test('axios tells of an ended session as of any 401, and the tab is signed out', async () => {
  const { browser, server, tab, session } = await signedIn()
  const api = axios.create({ baseURL: 'https://app.example.com/' })
  const stop = attachSession(api, session)
  server.end('ended_by_admin')
  await assert.rejects(during(browser, api.get('api/')), ({ response }) => response.data.reason === 'ended_by_admin')
  assert.equal(tab.snapshot.reason, 'ended_by_admin')
  await assert.rejects(during(browser, api.get('api/')), ({ cause, ...error }) =>
    [cause?.code, error.code].includes('SESSION_ENDED'),
  )
  stop()
  assert.equal(api.interceptors.request.handlers.filter(Boolean).length, 0)
})
