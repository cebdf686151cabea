// How long the access token and the session last: shown each second, announced never.

import { find } from './page.js'
import { duration, moment } from './words.js'

let token = null // When it was answered by the clock of this page, and its claims.

/** The claims of a JWT, not verified: that is the server's part. */
export function claimsOf(jwt) {
  const [, payload] = jwt.split('.')
  return JSON.parse(atob(payload.replace(/-/g, '+').replace(/_/g, '/')))
}

export function startClock(claims) {
  token = { at: performance.now(), ...claims }
}

/** Seconds until a moment of the server, counted from the last token: the clock of the page may be wrong. */
const until = (seconds) => seconds - token.iat - (performance.now() - token.at) / 1000

export function connectClocks(session) {
  const tick = () => {
    const { status, sessionExpiresAt, idleExpiresAt } = session.getSnapshot()
    if (!token || status !== 'signed-in') return
    const left = Math.max(0, until(token.exp))
    find('token').max = token.exp - token.iat
    find('token').value = left
    find('token-left').textContent = `generation ${token.gen}, ${duration(left)} left`
    const idle = idleExpiresAt && until(Date.parse(idleExpiresAt) / 1000)
    find('idle-left').textContent = idleExpiresAt ? duration(idle) : 'never'
    find('session-end').textContent = sessionExpiresAt ? moment(sessionExpiresAt) : 'never'
  }
  session.on('refreshed', tick)
  setInterval(tick, 1000)
}
