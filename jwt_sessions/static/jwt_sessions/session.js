/**
 * Sign-in sessions of django-jwt-sessions in the browser.
 *
 * The refresh token stays in an HttpOnly cookie and the access token in memory. There is no lock between tabs: the
 * server answers a refresh token that was just rotated with the identical successor, so two refreshes at once are
 * harmless. What tabs tell each other only spares requests.
 */

/** @typedef {'unknown' | 'signed-in' | 'signed-out' | 'reauthenticate'} Status */

/**
 * @typedef {object} Options
 * @property {string} base Where `jwt_sessions.urls` is included, such as `/auth/`.
 * @property {string} [tenant] The tenant of this tab. Without it, the one that this tab had before it was reloaded.
 * @property {string} [audience] The audience of the access tokens; the server's default one if left out.
 * @property {string[]} [origins] The origins that `fetch` sends the token to: the page's own, if left out.
 * @property {boolean} [keepAlive] Refresh by a timer while the tab is visible.
 * @property {number} [warnBefore] How long before the session ends `idle-soon` is told, in seconds.
 * @property {number} [gracePeriod] The server's `REUSE_GRACE_PERIOD`, in seconds.
 */

/**
 * @typedef {object} Snapshot
 * @property {Status} status
 * @property {string | null} reason Why nobody is signed in, or why the password is asked for.
 * @property {string | null} userId
 * @property {string | null} sessionId
 * @property {string | null} tenant
 * @property {string | null} sessionExpiresAt ISO 8601, by the server's clock.
 * @property {string | null} idleExpiresAt ISO 8601, by the server's clock.
 * @property {boolean} degraded The last refresh failed, and it is tried again.
 */

/**
 * @typedef {object} Events
 * @property {{}} signed-in
 * @property {{ reason: string | null }} signed-out
 * @property {{ maxAge: number | null }} reauthenticate The password is asked for: it is older than `maxAge` seconds.
 * @property {{ tenant: string | null }} tenant-idle
 * @property {{ seconds: number }} idle-soon
 * @property {{ shared: boolean }} refreshed There is a new access token, from the server or (`shared`) another tab.
 * @property {{}} degraded
 */

/** @typedef {Record<string, unknown>} Answer */
/** @typedef {[wall: number, monotonic: number]} Mark */
/** @typedef {{ epoch: string, sid: string | null, reason: string | null, out: boolean }} Epoch */
/**
 * @typedef {object} Token
 * @property {string} value
 * @property {Mark} at When it was answered.
 * @property {number} life How long it is good, all in milliseconds after `at`.
 * @property {number} fresh When it is time to refresh it.
 * @property {number} due The same, less a random tenth.
 * @property {number} ends When the session ends.
 * @property {number} idle When the session ends if the user does nothing.
 */

const LONGEST_WAIT_FOR_TABS = 2000
const LONGEST_TIMER = 30_000
const LONGEST_BACK_OFF = 60
const INPUT = ['pointerdown', 'keydown', 'wheel', 'touchstart']
const NOBODY = { userId: null, sessionId: null, sessionExpiresAt: null, idleExpiresAt: null, degraded: false }

/** An error of the session. `terminal`: only signing in helps. It never holds a token. */
export class SessionError extends Error {
  /**
   * @param {string} code A code of the server, or `NETWORK_ERROR`, `TIMEOUT`, `UNEXPECTED_ANSWER`, `SESSION_CHANGED`
   *   (another one than when it was asked), `UNAVAILABLE` (disposed of, or no browser).
   * @param {{ reason?: string | null, terminal?: boolean, status?: number, maxAge?: number | null,
   *   retryAfter?: number }} [more] `maxAge` and `retryAfter` in seconds; `status` is 0 where no answer came.
   */
  constructor(code, { reason = null, terminal = false, status = 0, maxAge = null, retryAfter = 0 } = {}) {
    super(reason ? `${code} (${reason})` : code)
    this.name = 'SessionError'
    this.code = code
    this.reason = reason
    this.terminal = terminal
    this.status = status
    this.maxAge = maxAge
    this.retryAfter = retryAfter
  }
}

/** @param {unknown} value */
const text = (value) => (value == null ? null : String(value))

/** @returns {Mark} */
const mark = () => [Date.now(), performance.now()]

/**
 * Milliseconds since a mark. The clock of the wall may be set, the other may stand still in sleep: the larger counts.
 *
 * @param {Mark} since
 */
const elapsed = ([wall, monotonic]) => Math.max(Date.now() - wall, performance.now() - monotonic)

/**
 * Seconds that `Retry-After` asks for (RFC 9110 §10.2.3). A date is taken by the server's clock; where that is not
 * told, for a minute at most, since the client's may be wrong.
 *
 * @param {Headers} headers
 */
function retryAfter(headers) {
  const value = headers.get('Retry-After') ?? '0'
  if (!Number.isNaN(Number(value))) return Number(value)
  const date = Date.parse(headers.get('Date') ?? '')
  const seconds = (Date.parse(value) - (date || Date.now())) / 1000 || 0
  return date ? seconds : Math.min(seconds, LONGEST_BACK_OFF)
}

/**
 * @param {Response} response
 * @param {Answer} body
 */
const errorOf = (response, body) =>
  new SessionError(String(body.code ?? 'UNEXPECTED_ANSWER'), {
    reason: /** @type {string | undefined} */ (body.reason),
    terminal: body.terminal === true,
    status: response.status,
    maxAge: /** @type {number | undefined} */ (body.max_age),
    retryAfter: retryAfter(response.headers),
  })

/** @param {SessionError} error */
const isTemporary = ({ status }) => !status || status === 429 || status >= 500

/**
 * The body of an answer as an object; an empty one where it is none.
 *
 * @param {Response} response
 * @returns {Promise<Answer>}
 */
const bodyOf = async (response) => Object(await response.json().catch(() => 0))

/**
 * The claims of a JWT (RFC 7519), not verified: that is the server's part.
 *
 * @param {string} jwt
 * @returns {{ sub?: string, iat?: number }}
 */
function claimsOf(jwt) {
  try {
    const bytes = atob(jwt.split('.')[1].replace(/-/g, '+').replace(/_/g, '/'))
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))))
  } catch {
    return {}
  }
}

/**
 * A promise that no longer waits once the signal is aborted.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
const until = (promise, signal) =>
  new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason)
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop)
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })

// Storage throws where the browser forbids it.

/** @param {'localStorage' | 'sessionStorage'} area @param {string} name */
function stored(area, name) {
  try {
    return globalThis[area].getItem(name)
  } catch {
    return null
  }
}

/** @param {'localStorage' | 'sessionStorage'} area @param {string} name @param {string | null} value */
function store(area, name, value) {
  try {
    if (value === null) globalThis[area].removeItem(name)
    else globalThis[area].setItem(name, value)
  } catch {
    // Then it is known until the page is left.
  }
}

/**
 * The session of this tab. It begins with a silent refresh by the cookie.
 *
 * @param {Options} options
 */
export function createSession({
  base,
  tenant: givenTenant,
  audience,
  origins = globalThis.location ? [location.origin] : [],
  keepAlive = true,
  warnBefore = 60,
  gracePeriod = 30,
}) {
  const browser = typeof document !== 'undefined'
  const root = (browser ? new URL(base, location.href).href : base).replace(/\/*$/, '/')
  const key = `jwt_sessions:${root}`
  // A later answer may bring a cookie that the server has ceased to honour.
  const patience = gracePeriod * 500 || 15_000

  let live = browser
  /** @type {string | null} */
  let tenant = text(givenTenant) ?? (browser ? stored('sessionStorage', key) : null)
  /** @type {Readonly<Snapshot>} */
  let snapshot = Object.freeze({ status: 'unknown', reason: null, ...NOBODY, tenant })
  let told = snapshot
  /** @type {Token | null} */
  let token = null
  // The epoch is kept in localStorage, not only broadcast: a tab that was frozen, or is shown again from the
  // back/forward cache, has to know it before it shows anything. `sid` is an id and lets nobody in.
  /** @type {Epoch} */
  let record = { epoch: '', sid: null, reason: null, out: false }
  let epoch = ''
  /** @type {Promise<string> | null} */
  let inflight = null
  /** @type {AbortController | null} */
  let turn = null
  /** @type {Promise<void> | null} */
  let flushing = null
  /** @type {{ error: SessionError, at: Mark, wait: number, tries: number } | null} */
  let failure = null
  let active = false // Was there input since the last refresh?
  let warned = ''
  /** @type {Mark | null} */
  let othersAt = null // When another tab began a refresh that this tab can use.
  let arrived = () => {}
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  /** @type {BroadcastChannel | null} */
  let channel = null
  const end = new AbortController()

  /** @type {Set<() => void>} */
  const subscribers = new Set()
  /** @type {Map<string, Set<(detail: any) => void>>} */
  const listeners = new Map()
  /** @type {[type: string, detail: object][]} */
  const events = []

  // What listeners are told

  function tell() {
    const changed = snapshot !== told
    const calls = changed ? [...subscribers].map((listener) => () => listener()) : []
    const news = events.splice(0)
    if (snapshot.degraded && !told.degraded) news.unshift(['degraded', {}])
    const { status, reason, sessionId } = snapshot
    if (status !== told.status || sessionId !== told.sessionId) {
      if (status === 'signed-in') news.unshift([status, {}])
      if (status === 'signed-out') news.unshift([status, { reason }])
    }
    told = snapshot
    for (const [type, detail] of news)
      for (const listener of listeners.get(type) ?? []) calls.push(() => listener(detail))
    for (const call of calls)
      try {
        call()
      } catch (error) {
        ;(globalThis.reportError ?? console.error)(error)
      }
  }

  /** @param {keyof Events} type @param {object} detail */
  function emit(type, detail) {
    events.push([type, detail])
    queueMicrotask(tell)
  }

  /** @param {Partial<Snapshot>} changes */
  function settle(changes) {
    const next = { ...snapshot, ...changes }
    const names = /** @type {(keyof Snapshot)[]} */ (Object.keys(next))
    if (names.some((name) => next[name] !== snapshot[name])) {
      snapshot = Object.freeze(next)
      queueMicrotask(tell)
    }
  }

  // What tabs tell each other

  /** @param {string} type @param {object} [more] */
  function say(type, more) {
    channel?.postMessage({ type, record, tenant, audience, ...more })
  }

  /** @param {MessageEvent} event */
  function hear({ data }) {
    if (data.type === 'epoch') record = data.record
    sync()
    if (data.type === 'epoch') return look()
    if (data.record.epoch !== epoch || data.tenant !== tenant) return
    if (data.type === 'input') active = true
    if (data.type === 'refreshing' && !data.background) active = false
    if (data.audience !== audience) return
    if (data.type === 'refreshing') othersAt = mark()
    if (data.type === 'token') {
      const { sessionId } = snapshot
      if (!sessionId || sessionId === data.answer.session_id) adopt(data.answer, [data.at, performance.now()], true)
    }
    if (data.type === 'token' || data.type === 'failed') {
      othersAt = null
      arrived()
    }
  }

  function open() {
    try {
      channel ??= new BroadcastChannel(key)
      channel.onmessage = hear
    } catch {
      // Then each tab refreshes for itself.
    }
  }

  function shut() {
    channel?.close()
    channel = null
  }

  // Epochs

  /** @param {Epoch} latest */
  function write(latest) {
    record = latest
    store('localStorage', key, JSON.stringify(latest))
  }

  function read() {
    try {
      record = { ...record, ...JSON.parse(stored('localStorage', key) ?? '{}') }
    } catch {
      // Something else wrote there.
    }
  }

  /** Learn of an epoch that another tab began. */
  function sync() {
    read()
    if (record.epoch !== epoch) enter()
  }

  /** What was known and is still to be answered counts for nothing. */
  function enter() {
    epoch = record.epoch
    token = failure = othersAt = null
    turn?.abort()
    if (!record.sid) settle({ ...NOBODY, status: 'signed-out', reason: record.reason })
    else if (record.sid !== snapshot.sessionId) settle({ ...NOBODY, status: 'unknown', reason: null })
    else if (snapshot.status === 'reauthenticate') settle({ status: 'unknown', reason: null })
  }

  /** @param {string | null} sid @param {{ reason?: string | null, out?: boolean, answer?: Answer }} [more] */
  function begin(sid, { reason = null, out = false, answer } = {}) {
    write({ epoch: Math.random().toString(36).slice(2), sid, reason, out })
    enter()
    // The token first, so that tabs that can use it need not ask.
    if (answer) share(answer)
    say('epoch')
    schedule()
  }

  /** @param {Answer} answer */
  function share(answer) {
    const at = mark()
    adopt(answer, at, false)
    say('token', { answer, at: at[0] })
  }

  /** @param {SessionError} error */
  function leave({ code, reason }) {
    const why = reason ?? (code === 'NO_SESSION' ? null : code)
    if (record.sid) begin(null, { reason: why })
    else settle({ ...NOBODY, status: 'signed-out', reason: why })
    token = null
  }

  const gone = () =>
    new SessionError(snapshot.reason ? 'SESSION_ENDED' : 'NO_SESSION', { reason: snapshot.reason, terminal: true })

  // The access token

  const left = () => (token ? token.life - elapsed(token.at) : 0)

  /** @param {Answer} answer @param {Mark} at @param {boolean} shared */
  function adopt(answer, at, shared) {
    const value = String(answer.access_token)
    const { sub, iat } = claimsOf(value)
    const [sessionExpiresAt, idleExpiresAt] = [text(answer.session_expires_at), text(answer.idle_expires_at)]
    // By the server's clock at both ends: the client's may be wrong by a day.
    const after = (/** @type {string | null} */ time) => (time && iat ? Date.parse(time) - iat * 1000 : Infinity)
    const life = Number(answer.expires_in) * 1000
    if (shared && life - elapsed(at) <= left()) return
    const fresh = Number(answer.refresh_in ?? Number(answer.expires_in) * 0.8) * 1000
    const due = Math.max(1000, fresh * (1 - Math.random() / 10))
    token = { value, at, life, fresh, due, ends: after(sessionExpiresAt), idle: after(idleExpiresAt) }
    failure = null
    tenant = text(answer.tenantId)
    store('sessionStorage', key, tenant)
    settle({
      status: 'signed-in',
      reason: null,
      userId: sub ?? null,
      sessionId: String(answer.session_id),
      tenant,
      sessionExpiresAt,
      idleExpiresAt,
      degraded: false,
    })
    emit('refreshed', { shared })
    schedule()
  }

  /**
   * An access token that is good for `minValidity` seconds more; refreshed if need be. A token that does not live that
   * long is refreshed when its time has come. If the refresh fails, one that is still good will do.
   *
   * @param {{ minValidity?: number, background?: boolean }} [wishes] `background`: this is no sign of the user.
   * @returns {Promise<string>}
   */
  function getAccessToken({ minValidity = 10, background = false } = {}) {
    if (live) sync()
    if (snapshot.status === 'signed-out') return Promise.reject(gone())
    if (token) {
      const wanted = minValidity * 1000
      if (left() > 0 && left() >= (wanted < token.fresh ? wanted : token.life - token.fresh))
        return Promise.resolve(token.value)
    }
    return refresh(background)
  }

  /** @param {boolean} background @returns {Promise<string>} */
  function refresh(background) {
    if (inflight) return inflight
    if (!live) return Promise.reject(new SessionError('UNAVAILABLE'))
    if (failure && elapsed(failure.at) < failure.wait)
      return token && left() > 0 ? Promise.resolve(token.value) : Promise.reject(failure.error)
    const mine = attempt(background)
    inflight = mine
    mine.catch(() => {}).finally(schedule)
    return mine
  }

  /** @param {boolean} background @returns {Promise<string>} */
  async function attempt(background) {
    for (let again = false; ; ) {
      turn = new AbortController()
      const { signal } = turn
      try {
        return await refreshOnce(background, signal)
      } catch (thrown) {
        const error = /** @type {SessionError} */ (thrown)
        if (signal.aborted) {
          // A new epoch or another tenant: ask again, unless there is nobody to ask for.
          if (live && snapshot.status !== 'signed-out') continue
          inflight = null
          throw live ? gone() : new SessionError('UNAVAILABLE')
        }
        if (error.code === 'TENANT_FORBIDDEN' && tenant && snapshot.status === 'unknown') {
          // The membership is lost, or somebody else has signed in. The session goes on without.
          tenant = null
          settle({ tenant })
          continue
        }
        if (error.code === 'INVALID_TOKEN' && snapshot.sessionId && !again) {
          // The password may have been given in another tab meanwhile, and the new cookie is on its way.
          again = true
          await pause(1000, signal)
          continue
        }
        inflight = null
        const usable = fail(error, background)
        if (usable) return usable
        throw error
      }
    }
  }

  /**
   * Wait so many milliseconds, or until another tab has a result.
   *
   * @param {number} time
   * @param {AbortSignal} signal
   */
  const pause = (time, signal) =>
    /** @type {Promise<void>} */ (
      new Promise((resolve) => {
        arrived = () => {
          clearTimeout(id)
          resolve()
        }
        const id = setTimeout(arrived, time)
        signal.addEventListener('abort', arrived)
      })
    )

  /** @param {boolean} background @param {AbortSignal} signal */
  async function refreshOnce(background, signal) {
    if (othersAt) {
      const before = token
      await pause(LONGEST_WAIT_FOR_TABS - elapsed(othersAt), signal)
      signal.throwIfAborted()
      othersAt = null
      if (token && token !== before) {
        inflight = null
        return token.value
      }
    }
    if (record.out) {
      await until(flush(), signal)
      if (snapshot.status === 'signed-out') throw gone()
    }
    if (!background) active = false
    say('refreshing', { background })
    const parameters = { grant_type: 'refresh_token', tenantId: tenant, audience, background: background || null }
    const answer = await call('token/', parameters, signal)
    sync()
    signal.throwIfAborted()
    inflight = null
    const sid = String(answer.session_id)
    if (record.sid === sid) share(answer)
    else if (record.sid || epoch) begin(sid, { answer })
    else {
      write({ ...record, sid })
      share(answer)
    }
    return String(answer.access_token)
  }

  /**
   * Keep in mind that a refresh failed; the token that is still good, if there is one.
   *
   * @param {SessionError} error
   * @param {boolean} background
   */
  function fail(error, background) {
    if (error.terminal) {
      leave(error)
      return null
    }
    const tries = (failure?.tries ?? 0) + 1
    // Full jitter, so that clients that failed together do not come back together.
    const backOff = 1 + Math.random() * (Math.min(LONGEST_BACK_OFF, 2 ** tries) - 1)
    failure = { error, tries, at: mark(), wait: Math.max(backOff, error.retryAfter) * 1000 }
    say('failed')
    if (!background) noteInput()
    if (record.out) settle({ ...NOBODY, status: 'signed-out', reason: 'logout' })
    else if (!ask(error) && isTemporary(error)) settle({ degraded: true })
    return token && left() > 0 ? token.value : null
  }

  /**
   * Ask for the password if that is what an error is about.
   *
   * @param {SessionError} error
   */
  function ask({ code, maxAge }) {
    if (code === 'TENANT_IDLE') emit('tenant-idle', { tenant })
    else if (code === 'REAUTHENTICATION_REQUIRED') emit('reauthenticate', { maxAge })
    else return false
    // A view that wants a recent password says how recent; everything else goes on.
    if (maxAge === null) settle({ status: 'reauthenticate', reason: code, degraded: false })
    return true
  }

  // Requests

  /**
   * Post to the server with the cookie.
   *
   * @param {string} path
   * @param {Record<string, unknown>} parameters A form: to another origin it needs no preflight request.
   * @param {AbortSignal} signal
   * @param {HeadersInit} [headers]
   * @returns {Promise<Answer>}
   */
  async function call(path, parameters, signal, headers) {
    const body = new URLSearchParams()
    for (const [name, value] of Object.entries(parameters)) if (value != null) body.set(name, String(value))
    const sent = mark()
    const controller = new AbortController()
    const stop = () => {
      clearTimeout(limit)
      controller.abort()
    }
    const limit = setTimeout(stop, patience)
    signal.addEventListener('abort', stop)
    try {
      const request = fetch(root + path, {
        method: 'POST',
        body,
        headers,
        credentials: 'include',
        cache: 'no-store',
        redirect: 'error',
        keepalive: path === 'logout/', // The page may be left at once.
        signal: controller.signal,
      })
      const response = await until(request, controller.signal)
      const answer = await until(bodyOf(response), controller.signal)
      if (elapsed(sent) > patience) throw new SessionError('TIMEOUT')
      // Something between here and the server may answer 200 with a page of its own.
      if (response.ok && (response.status === 204 || answer.access_token)) return answer
      throw errorOf(response, response.ok ? {} : answer)
    } catch (error) {
      if (error instanceof SessionError) throw error
      throw new SessionError(elapsed(sent) < patience ? 'NETWORK_ERROR' : 'TIMEOUT')
    } finally {
      clearTimeout(limit)
      signal.removeEventListener('abort', stop)
    }
  }

  /**
   * Send a sign-out. What the server refuses for good is not kept.
   *
   * @param {string} [bearer]
   */
  function flush(bearer) {
    const mine = epoch
    const send = async () => {
      try {
        await call('logout/', {}, end.signal, bearer ? { Authorization: `Bearer ${bearer}` } : {})
      } catch (error) {
        if (isTemporary(/** @type {SessionError} */ (error))) throw error
      } finally {
        flushing = null
      }
      sync()
      if (epoch === mine) write({ ...record, out: false })
    }
    flushing ??= send()
    return flushing
  }

  /**
   * Have an answer with tokens, and begin an epoch with it.
   *
   * @param {string} path
   * @param {Answer} credentials
   * @param {Answer} defaults
   */
  async function enterWith(path, credentials, defaults) {
    if (!live) throw new SessionError('UNAVAILABLE')
    sync()
    const mine = epoch
    const answer = credentials.access_token ? credentials : await call(path, { ...defaults, ...credentials }, end.signal)
    sync()
    if (epoch !== mine && !record.sid) {
      // Signed out meanwhile: that has the last word, also about the cookie that came along.
      write({ ...record, out: true })
      flush().catch(() => {})
      throw new SessionError('SESSION_CHANGED', { reason: record.reason })
    }
    begin(String(answer.session_id), { answer })
  }

  /** @param {string | null} sid */
  function same(sid) {
    if (live) sync()
    if (snapshot.sessionId !== sid)
      throw new SessionError('SESSION_CHANGED', {
        reason: snapshot.reason,
        terminal: snapshot.status === 'signed-out',
      })
  }

  /**
   * @param {RequestInfo | URL} input
   * @param {RequestInit} [init]
   * @param {boolean} [own] It goes to the server of the session, wherever that is.
   */
  async function send(input, init, own) {
    let sid = snapshot.sessionId
    for (let last = typeof ReadableStream !== 'undefined' && init?.body instanceof ReadableStream; ; last = true) {
      const request = new Request(input instanceof Request ? input.clone() : input, init)
      const allowed = own || origins.includes(new URL(request.url).origin)
      // Browsers drop the header themselves where a redirect leads to another origin (Fetch §4.4).
      if (!allowed || request.headers.has('Authorization')) return fetch(request)
      const background = request.headers.has('X-Session-Background')
      const value = await until(getAccessToken({ background }), request.signal)
      // A request that was meant for one user must neither be sent nor answered as another.
      sid ??= snapshot.sessionId
      same(sid)
      request.headers.set('Authorization', `Bearer ${value}`)
      const response = await fetch(request)
      same(sid)
      if (response.status !== 401) return response
      const error = errorOf(response, await bodyOf(response.clone()))
      same(sid)
      if (error.code === 'EXPIRED_TOKEN') {
        if (token?.value === value) token = null
        if (!last) continue
      } else if (error.terminal) leave(error)
      else if (ask(error) && error.maxAge === null && token?.value === value) token = null
      return response
    }
  }

  /**
   * @param {string} path
   * @param {string} [method]
   * @param {Record<string, string>} [parameters]
   * @returns {Promise<any>}
   */
  async function sessions(path, method = 'POST', parameters) {
    const body = parameters && new URLSearchParams(parameters)
    const response = await send(`${root}sessions/${path}`, { method, body }, true).catch((error) => {
      throw error instanceof SessionError ? error : new SessionError('NETWORK_ERROR')
    })
    const answer = response.status === 204 ? {} : await bodyOf(response)
    if (response.ok) return answer
    throw errorOf(response, answer)
  }

  // Timers and what wakes them

  /** Milliseconds until this tab refreshes by itself. */
  function next() {
    const wait = failure ? Math.max(0, failure.wait - elapsed(failure.at)) : 0
    const { status } = snapshot
    if (status === 'signed-out') return record.out && failure ? wait : Infinity
    if (status === 'reauthenticate') return Infinity
    if (!token) return document.hidden ? Infinity : wait
    const age = elapsed(token.at)
    // The user is back shortly before the idle time is over.
    if (active && age > token.idle / 2 && age >= token.idle - warnBefore * 1000) return wait
    if (!keepAlive) return Infinity
    return Math.max(wait, (document.hidden ? Math.max(token.fresh, token.ends / 2) : token.due) - age)
  }

  /** Milliseconds until the session ends, as far as is known, and the moment by the server's clock. */
  function deadline() {
    if (!token || snapshot.status !== 'signed-in') return { rest: Infinity, moment: '' }
    const { sessionExpiresAt, idleExpiresAt } = snapshot
    const moment = token.idle < token.ends ? idleExpiresAt : sessionExpiresAt
    return { rest: Math.min(token.idle, token.ends) - elapsed(token.at), moment: moment ?? '' }
  }

  function look() {
    if (!live) return
    sync()
    if (!inflight && next() <= 0) refresh(!active).catch(() => {})
    const { rest, moment } = deadline()
    if (!inflight && rest > 0 && rest <= warnBefore * 1000 && moment !== warned) {
      warned = moment
      emit('idle-soon', { seconds: Math.round(rest / 1000) })
    }
    schedule()
  }

  /** A timer only looks. It does so often enough to notice that the clock was set or the machine slept. */
  function schedule() {
    clearTimeout(timer)
    if (!live || inflight) return
    const { rest, moment } = deadline()
    const wait = Math.min(next(), moment === warned ? Infinity : rest - warnBefore * 1000)
    if (wait < Infinity) timer = setTimeout(look, Math.min(Math.max(wait, 50), LONGEST_TIMER))
  }

  function noteInput() {
    if (active) return
    active = true
    say('input')
    look()
  }

  function online() {
    if (failure && !failure.error.status) failure.wait = 0
    look()
  }

  /** @param {Event} event */
  function shown(event) {
    open()
    if (/** @type {PageTransitionEvent} */ (event).persisted) {
      // From the back/forward cache: whatever it shows may be over.
      sync()
      token = failure = null
      settle({ ...NOBODY, status: 'unknown', reason: null })
      turn?.abort()
      refresh(true).catch(() => {})
    }
    look()
  }

  /** @type {[EventTarget, string, (event: any) => void][]} */
  const handlers = browser
    ? [
        [document, 'visibilitychange', look],
        [document, 'resume', look],
        [globalThis, 'focus', look],
        [globalThis, 'storage', look],
        [globalThis, 'online', online],
        [globalThis, 'pageshow', shown],
        // A page with an open channel may be kept out of the back/forward cache.
        [globalThis, 'pagehide', shut],
        ...INPUT.map((type) => /** @type {[EventTarget, string, () => void]} */ ([globalThis, type, noteInput])),
      ]
    : []
  const how = { capture: true, passive: true }

  let ready = Promise.resolve()
  if (browser) {
    read()
    epoch = record.epoch
    open()
    for (const [target, type, handler] of handlers) target.addEventListener(type, handler, how)
    // Opening a page is the user's doing; restoring it in the background is not.
    ready = refresh(document.hidden).then(
      () => {},
      () => {},
    )
  }

  return {
    /** Settled when the first refresh is answered or given up; never rejected. */
    ready,
    getSnapshot: () => snapshot,
    /** @param {() => void} listener @returns {() => void} */
    subscribe(listener) {
      subscribers.add(listener)
      return () => void subscribers.delete(listener)
    },
    /**
     * @template {keyof Events} Type
     * @param {Type} type
     * @param {(detail: Events[Type]) => void} listener
     * @returns {() => void} Stops it.
     */
    on(type, listener) {
      const set = listeners.get(type) ?? new Set()
      listeners.set(type, set.add(listener))
      return () => void set.delete(listener)
    },
    getAccessToken,
    /**
     * `fetch` with the access token, to `origins`. After `EXPIRED_TOKEN` it is refreshed and sent once more, unless
     * the body is a stream. Where nobody is signed in nothing is sent.
     *
     * @param {RequestInfo | URL} input
     * @param {RequestInit} [init]
     * @throws {SessionError} There is no token to be had, or somebody else has signed in meanwhile.
     */
    fetch: (input, init) => send(input, init),
    /**
     * @param {Answer} credentials What `login/` takes; or the token answer of your own way of signing in.
     * @returns {Promise<void>}
     * @throws {SessionError}
     */
    async signIn(credentials) {
      if (record.out) await flush().catch(() => {})
      const defaults = { audience, delivery: 'cookie' }
      try {
        await enterWith('login/', credentials, { ...defaults, tenantId: tenant })
      } catch (error) {
        // The tab's tenant may be that of somebody else who was signed in before.
        if (/** @type {SessionError} */ (error).code !== 'TENANT_FORBIDDEN' || credentials.tenantId || !tenant) throw error
        await enterWith('login/', credentials, defaults)
      }
    },
    /**
     * Sign out here at once, and on the server as soon as it can be told.
     *
     * @returns {Promise<boolean>} Whether the server has been told. If not, it is before the next refresh.
     */
    async signOut() {
      if (!live) throw new SessionError('UNAVAILABLE')
      const bearer = token?.value
      begin(null, { reason: 'logout', out: true })
      try {
        await flush(bearer)
        return true
      } catch (error) {
        fail(/** @type {SessionError} */ (error), true)
        schedule()
        return false
      }
    },
    /**
     * @param {{ password: string, tenantId?: string } | Answer} credentials
     * @returns {Promise<void>}
     * @throws {SessionError}
     */
    async reauthenticate(credentials) {
      try {
        await enterWith('reauthenticate/', credentials, { tenantId: tenant })
      } catch (error) {
        if (/** @type {SessionError} */ (error).terminal) leave(/** @type {SessionError} */ (error))
        throw error
      }
    },
    /**
     * Act for another tenant in this tab. If that fails the tab keeps the one it had; unless the new one is idle, for
     * then the password opens it.
     *
     * @param {string | null} id
     * @returns {Promise<void>}
     * @throws {SessionError}
     */
    async switchTenant(id) {
      const before = { tenant, token }
      const wanted = text(id)
      tenant = wanted
      token = failure = othersAt = null
      turn?.abort()
      try {
        await getAccessToken()
        if (tenant !== wanted) throw new SessionError('SESSION_CHANGED')
      } catch (error) {
        if (tenant === wanted && snapshot.status !== 'reauthenticate') {
          tenant = before.tenant
          token = snapshot.status === 'signed-in' ? before.token : null
          failure = null
          schedule()
        }
        throw error
      }
    },
    devices: {
      /** @returns {Promise<Answer[]>} */
      list: () => sessions('', 'GET'),
      /** @param {string} id @param {string} name @returns {Promise<Answer>} */
      rename: (id, name) => sessions(`${encodeURIComponent(id)}/`, 'PATCH', { device_name: name }),
      /** @param {string} id @returns {Promise<void>} */
      async end(id) {
        const own = id === 'current' || id === snapshot.sessionId
        await sessions(`${encodeURIComponent(id)}/`, 'DELETE')
        if (own) begin(null, { reason: 'logout' })
      },
      /** @returns {Promise<number>} How many were ended. */
      endOthers: async () => (await sessions('end-others/')).ended,
      /** @returns {Promise<number>} How many were ended, this one among them. */
      async endAll() {
        const { ended } = await sessions('end-all/')
        begin(null, { reason: 'ended_by_user' })
        return ended
      },
    },
    /** Stop all timers, listeners and the channel. The session itself lives on. */
    dispose() {
      live = false
      clearTimeout(timer)
      turn?.abort()
      end.abort()
      shut()
      for (const [target, type, handler] of handlers) target.removeEventListener(type, handler, how)
      subscribers.clear()
      listeners.clear()
    },
  }
}

/** @typedef {ReturnType<typeof createSession>} Session */
