// A server that answers as jwt_sessions does, in memory: rotation with its grace period, idle and maximum lifetimes,
// tenants, re-authentication, and the refresh cookie.

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** An error of the server: RFC 6749 §5.2 plus what jwt_sessions adds. */
export class Refusal extends Error {
  constructor(code, { status = 400, headers = {}, ...more } = {}) {
    super(code)
    this.status = status
    this.headers = headers
    this.body = { code, terminal: ['NO_SESSION', 'SESSION_ENDED', 'INVALID_TOKEN'].includes(code), ...more }
  }
}

export class Server {
  lifetime = 300
  refreshLifetime = 7 * 86400
  maxLifetime = 30 * 86400
  idleTimeout = null
  grace = 30
  users = { ann: 'ann secret', bob: 'bob secret' }
  tenants = { ann: ['acme', 'globex'], bob: ['hooli'] }
  sessions = new Map()
  log = []
  /** What goes wrong: `(path, parameters) => Response | Error | undefined`, asked before a request is handled. */
  fault = () => undefined
  /** What a resource answers instead of success: `(claims) => Refusal | undefined`. */
  resource = () => undefined

  /** @param {() => number} now Milliseconds, by the server's clock. */
  constructor(now) {
    this.now = now
  }

  requests(path) {
    return this.log.filter((request) => request.path === path)
  }

  get refreshes() {
    return this.requests('token/')
  }

  /** @returns {Promise<{ status: number, body?: object, headers?: object, cookie?: string | null }>} */
  async handle(request, cookie) {
    const url = new URL(request.url)
    const path = url.pathname.replace('/auth/', '')
    const text = await request.text()
    const parameters = Object.fromEntries(new URLSearchParams(text))
    const bearer = request.headers.get('Authorization')?.replace('Bearer ', '') ?? null
    this.log.push({ path, request, method: request.method, url: url.href, parameters, text, bearer, at: this.now() })
    const fault = this.fault(path, parameters)
    if (fault) return fault
    try {
      if (path === 'token/') return this.refresh(cookie, parameters)
      if (path === 'login/') return this.login(parameters)
      if (path === 'logout/') return this.logout(bearer, cookie)
      if (path === 'reauthenticate/') return this.reauthenticate(cookie, parameters)
      const claims = this.authorize(bearer, request.headers.get('X-Session-Background') === '1')
      if (path.startsWith('sessions/')) return this.own(path, request.method, parameters, claims)
      return { status: 200, body: { user: claims.sub, tenant: claims.tenantId ?? null, text } }
    } catch (error) {
      if (error instanceof Refusal) return { status: error.status, body: error.body, headers: error.headers }
      throw error
    }
  }

  start(user, tenant) {
    const sid = `s${this.sessions.size + 1}`
    const now = this.now()
    const session = { sid, user, gen: 0, oldest: 0, rotated: now, used: now, authenticated: now, ended: null, active: {} }
    session.active[tenant ?? ''] = now
    this.sessions.set(sid, session)
    return session
  }

  end(reason) {
    for (const session of this.sessions.values()) session.ended ??= reason
  }

  login({ email, password, tenantId }) {
    if (!(email in this.users) || this.users[email] !== password) throw new Refusal('INVALID_CREDENTIALS', { status: 401 })
    this.checkMember(email, tenantId)
    return this.answer(this.start(email, tenantId), tenantId)
  }

  logout(bearer, cookie) {
    const sid = bearer ? claimsOf(bearer).sid : cookie?.split('.')[0]
    const session = this.sessions.get(sid)
    if (session) session.ended ??= 'logout'
    return { status: 204, cookie: null }
  }

  reauthenticate(cookie, { password, tenantId }) {
    const session = this.presented(cookie)
    if (this.users[session.user] !== password) throw new Refusal('INVALID_CREDENTIALS', { status: 401 })
    this.checkMember(session.user, tenantId)
    session.authenticated = session.rotated = session.used = this.now()
    session.oldest = session.gen += 1
    session.active[tenantId ?? ''] = this.now()
    session.flagged = false
    return this.answer(session, tenantId)
  }

  refresh(cookie, { tenantId, background }) {
    const session = this.presented(cookie)
    this.checkMember(session.user, tenantId)
    this.checkLife(session, tenantId)
    if (session.flagged) throw new Refusal('REAUTHENTICATION_REQUIRED')
    const previousHonoured = session.gen > session.oldest && this.previousHonoured(session)
    if (Number(cookie.split('.')[1]) === session.gen) {
      session.used ??= this.now()
      if (!previousHonoured) {
        session.gen += 1
        session.rotated = this.now()
        session.used = null
      }
    }
    if (background !== 'true') session.active[tenantId ?? ''] = this.now()
    return this.answer(session, tenantId)
  }

  previousHonoured({ used, rotated }) {
    return used === null ? this.now() < rotated + 86400e3 : this.now() < used + this.grace * 1000
  }

  presented(cookie) {
    if (!cookie) throw new Refusal('NO_SESSION')
    const [sid, gen] = cookie.split('.')
    const session = this.sessions.get(sid)
    if (!session || Number(gen) < session.oldest) throw new Refusal('INVALID_TOKEN')
    const age = session.gen - Number(gen)
    if (age > 1 || (age === 1 && !this.previousHonoured(session))) {
      session.ended ??= 'token_reuse'
      throw new Refusal('INVALID_TOKEN')
    }
    if (session.ended) throw new Refusal('SESSION_ENDED', { reason: session.ended })
    return session
  }

  checkMember(user, tenant) {
    if (tenant && !this.tenants[user].includes(tenant)) throw new Refusal('TENANT_FORBIDDEN', { status: 403 })
  }

  checkLife(session, tenant, status = 400) {
    const now = this.now()
    if (session.ended) throw new Refusal('SESSION_ENDED', { status, reason: session.ended })
    if (now >= session.authenticated + this.maxLifetime * 1000) session.ended = 'max_lifetime'
    if (this.idleTimeout && now >= this.idleEnd(session, tenant)) {
      if (tenant) throw new Refusal('TENANT_IDLE', { status })
      session.ended = 'idle_timeout'
    }
    if (session.ended) throw new Refusal('SESSION_ENDED', { status, reason: session.ended })
  }

  idleEnd(session, tenant) {
    return (session.active[tenant ?? ''] ??= this.now()) + this.idleTimeout * 1000
  }

  authorize(bearer, background) {
    if (!bearer) throw new Refusal('NOT_AUTHENTICATED', { status: 401 })
    const claims = claimsOf(bearer)
    const session = this.sessions.get(claims.sid)
    if (this.now() >= claims.exp * 1000 || claims.gen < session.oldest) throw new Refusal('EXPIRED_TOKEN', { status: 401 })
    this.checkLife(session, claims.tenantId, 401)
    if (claims.gen === session.gen) session.used ??= this.now()
    const refusal = this.resource(claims)
    if (refusal) throw refusal
    if (!background) session.active[claims.tenantId ?? ''] = this.now()
    return claims
  }

  own(path, method, parameters, { sid, sub }) {
    const living = [...this.sessions.values()].filter(({ user, ended }) => user === sub && !ended)
    const end = (sessions) => sessions.forEach((session) => (session.ended = 'ended_by_user'))
    if (path === 'sessions/') return { status: 200, body: living.map((each) => ({ id: each.sid, current: each.sid === sid })) }
    if (path === 'sessions/end-all/') {
      end(living)
      return { status: 200, body: { ended: living.length }, cookie: null }
    }
    if (path === 'sessions/end-others/') {
      end(living.filter((each) => each.sid !== sid))
      return { status: 200, body: { ended: living.length - 1 } }
    }
    const id = path.split('/')[1]
    const session = this.sessions.get(id === 'current' ? sid : id)
    if (!session) return { status: 404, body: { detail: 'Not found.' } }
    if (method === 'PATCH') return { status: 200, body: { id: session.sid, device_name: parameters.device_name } }
    session.ended = 'ended_by_user'
    return { status: 204, ...(session.sid === sid && { cookie: null }) }
  }

  answer(session, tenant) {
    const now = this.now()
    const ends = Math.min(session.authenticated + this.maxLifetime * 1000, session.rotated + this.refreshLifetime * 1000)
    const idle = this.idleTimeout && this.idleEnd(session, tenant)
    const life = Math.floor(Math.min(this.lifetime, (ends - now) / 1000, idle ? (idle - now) / 1000 : Infinity))
    const claims = {
      ...{ sub: session.user, sid: session.sid, gen: session.gen, iat: Math.floor(now / 1000), jti: Math.random() },
      ...{ exp: now / 1000 + life, ...(tenant && { tenantId: tenant }) },
    }
    return {
      status: 200,
      cookie: `${session.sid}.${session.gen}`,
      body: {
        access_token: `${encode({ alg: 'none' })}.${encode(claims)}.secret`,
        token_type: 'Bearer',
        expires_in: life,
        refresh_in: Math.floor(life * 0.8),
        session_id: session.sid,
        session_expires_at: new Date(ends).toISOString(),
        idle_expires_at: idle ? new Date(idle).toISOString() : null,
        ...(tenant && { tenantId: tenant }),
      },
    }
  }
}

export function claimsOf(token) {
  return JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString())
}
