// The page: who is signed in, the notes of this tab's tenant, and what happens to the session.
//
// `{% jwt_sessions_script %}` has made the session. It refreshes by itself, and tells when something is to be shown.

import { claimsOf, connectClocks, startClock } from './clocks.js'
import { connectDevices, showDevices } from './devices.js'
import { announce, find, log, make, run } from './page.js'
import { askPassword, stopAsking } from './password.js'
import { duration, moment, whatFailed, whySignedOut } from './words.js'

const session = await globalThis.jwtSession
const urls = find('main').dataset

let shown = '' // The status, session and tenant for which the page stands.
let email = ''
let lastGeneration = null
let arriving = false // Signed in on this page, so that the focus has to go somewhere.

/** Call the API. An error has the `code` of the server. */
async function api(url, body) {
  const response = await session.fetch(url, body && { method: 'POST', body })
  if (response.status === 204) return null
  const answer = await response.json().catch(() => ({}))
  if (response.ok) return answer
  throw Object.assign(new Error(answer.detail ?? `The server answered ${response.status}.`), answer)
}

// What is shown

function render() {
  const { status, reason, sessionId, tenant, idleExpiresAt } = session.getSnapshot()
  const wanted = [status, sessionId, tenant].join(' ')
  if (find('warning').dataset.moment !== idleExpiresAt) find('warning').hidden = true
  if (wanted === shown) return
  const before = shown
  shown = wanted
  find('looking').hidden = status !== 'unknown'
  find('sign-in').hidden = status !== 'signed-out'
  find('signed-in').hidden = find('user').hidden = status !== 'signed-in'
  find('tenants').hidden = true
  if (status !== 'signed-in') forget()
  if (status !== 'reauthenticate') stopAsking()
  if (status === 'signed-out') showSignIn(reason, before)
  if (status === 'signed-in') enter().catch((error) => log(whatFailed(error)))
  if (status === 'reauthenticate') unlock(reason)
}

/** Nothing of whoever was signed in may stay on the page. */
function forget() {
  for (const id of ['notes', 'devices']) find(id).replaceChildren()
  find('warning').hidden = true
  find('user-name').textContent = ''
  document.title = 'Notes'
}

function showSignIn(reason, before) {
  arriving = true
  find('sign-in-why').textContent = whySignedOut(reason)
  find('sign-in-why').hidden = !reason
  if (before.startsWith('signed-in') || before.startsWith('reauthenticate')) find('sign-in-title').focus()
}

async function enter() {
  const asked = shown
  const [me, tenants] = await Promise.all([api(urls.me), api(urls.tenants)])
  if (shown !== asked) return
  const { tenant } = session.getSnapshot()
  if (!tenant && tenants.length) return session.switchTenant(tenants[0].id)
  const name = tenants.find(({ id }) => id === tenant)?.name ?? 'Notes'
  email = me.email
  find('user-name').textContent = me.name || me.email
  find('notes-title').textContent = name
  document.title = name === 'Notes' ? name : `${name} – Notes`
  showTenants(tenants, tenant)
  if (arriving) find('notes-title').focus()
  arriving = false
  await Promise.all([showNotes(), showDevices(session)])
}

/** A tab is for one tenant. Others open in tabs of their own, on the same session. */
function showTenants(tenants, current) {
  const link = ({ id, name }) => {
    const href = `?${new URLSearchParams({ tenant: id })}`
    if (id === current) return make('a', { href, ariaCurrent: 'page' }, name)
    const hint = make('span', { className: 'unseen' }, ' (opens a new tab)')
    return make('a', { href, target: '_blank', rel: 'noopener' }, name, hint)
  }
  find('tenants').firstElementChild.replaceChildren(...tenants.map((each) => make('li', {}, link(each))))
  find('tenants').hidden = !tenants.length
}

async function showNotes() {
  const asked = shown
  const notes = await api(urls.notes)
  if (shown !== asked) return
  const item = ({ title, created_at: at }) =>
    make('li', {}, title, make('time', { className: 'quiet', dateTime: at }, moment(at)))
  find('notes').replaceChildren(...notes.map(item))
  find('no-notes').hidden = notes.length > 0
  find('clear').hidden = !notes.length
}

// What the user does

find('sign-in').querySelector('form').onsubmit = (event) => {
  event.preventDefault()
  const form = event.target
  run(
    form,
    form.querySelector('.error'),
    async () => {
      await session.signIn(Object.fromEntries(new FormData(form)))
      form.reset()
    },
    whatFailed,
  )
}

find('sign-out').onclick = () => session.signOut()

find('add').onsubmit = (event) => {
  event.preventDefault()
  const form = event.target
  run(
    form,
    find('notes-error'),
    async () => {
      await api(urls.notes, new FormData(form))
      form.reset()
      announce('The note is added.')
      await showNotes()
    },
    whatFailed,
  )
}

find('clear').onclick = ({ currentTarget }) =>
  run(currentTarget, find('notes-error'), () => withRecentPassword(clearNotes), whatFailed)

async function clearNotes() {
  await api(urls.clear, new FormData())
  log('All notes of this tenant are deleted.')
  await showNotes()
  find('notes-title').focus()
}

/** Do what the server allows only for a while after the password was given; ask for it if that is over. */
async function withRecentPassword(action) {
  try {
    await action()
  } catch (error) {
    if (error.code !== 'REAUTHENTICATION_REQUIRED') throw error
    const why = `This cannot be undone: the password must have been given within the last ${error.max_age} seconds.`
    if (await askPassword(session, email, why)) await action()
  }
}

/** The session lives, but nothing can be done in this tab until the password is given. */
async function unlock(reason) {
  const why = reason === 'TENANT_IDLE' ? 'You were away from this tenant for a while.' : 'The server asks for it.'
  const given = await askPassword(session, email, why)
  if (!given && session.getSnapshot().status === 'reauthenticate') await session.signOut()
}

/** What two tabs do that refresh at the same moment, without telling each other. */
find('twice').onclick = async ({ currentTarget: { dataset } }) => {
  const { tenant } = session.getSnapshot()
  const wishes = { grant_type: 'refresh_token', background: 'true', ...(tenant && { tenantId: tenant }) }
  const ask = () => fetch(dataset.url, { method: 'POST', body: new URLSearchParams(wishes) })
  try {
    const answers = await Promise.all([ask(), ask()])
    if (!answers.every(({ ok }) => ok)) throw new Error('The server refused to refresh.')
    const bodies = await Promise.all(answers.map((answer) => answer.json()))
    const [one, other] = bodies.map((body) => claimsOf(body.access_token).gen)
    if (one === other)
      log(`Refreshed twice at once: one was replayed, and both got refresh token ${one}. Nobody is signed out.`)
    else log(`Refreshed twice, one after the other: refresh tokens ${one} and ${other}. Try again for a replay.`)
  } catch (error) {
    log(whatFailed(error))
  }
}

find('warning').querySelector('button').onclick = () => {
  // The click itself was input, and the session is refreshed for it.
  find('warning').hidden = true
  find('notes-title').focus()
}

// What happens to the session

session.on('signed-in', () => log('Signed in.'))
session.on('signed-out', ({ reason }) => reason && log(whySignedOut(reason)))
session.on('refreshed', async ({ shared }) => {
  const claims = claimsOf(await session.getAccessToken({ background: true }))
  startClock(claims)
  const from = shared ? 'Another tab handed over its new access token' : 'The server gave a new access token'
  const replayed = !shared && claims.gen === lastGeneration ? '; the refresh was replayed' : ''
  log(`${from} (generation ${claims.gen}${replayed}).`, { routine: true })
  lastGeneration = claims.gen
})
session.on('degraded', () => log('The server does not answer. The page goes on, and tries again.'))
session.on('tenant-idle', () => log('Nothing happened in this tenant for a while: the password is asked for.'))
session.on('reauthenticate', () => log('The server asks for the password again.'))
session.on('idle-soon', ({ seconds }) => {
  const { idleExpiresAt } = session.getSnapshot()
  const text = `You will be signed out in ${duration(seconds)} unless you do something.`
  find('warning').dataset.moment = idleExpiresAt
  find('warning').hidden = false
  find('warning').firstElementChild.textContent = text
  log(text, { routine: true })
})
// Devices change elsewhere, so look again when the user comes back.
addEventListener('focus', () => {
  if (session.getSnapshot().status === 'signed-in') showDevices(session).catch((error) => log(whatFailed(error)))
})

session.subscribe(render)
connectDevices(session)
connectClocks(session)
render()
