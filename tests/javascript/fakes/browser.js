// A browser with tabs, whose clocks, timers, storage, channels, pages and network are at a test's command.

import { readFileSync } from 'node:fs'

import { Server } from './server.js'

const MODULE = new URL('../../../jwt_sessions/static/jwt_sessions/session.js', import.meta.url)
// Each tab has globals of its own, which a module imported once for all tabs could not have.
const SOURCE = readFileSync(MODULE, 'utf8').replace(/^export /gm, '')
const NAMES = [
  ...['globalThis', 'document', 'location', 'localStorage', 'sessionStorage', 'BroadcastChannel', 'fetch', 'Request'],
  ...['setTimeout', 'clearTimeout', 'Date', 'performance', 'Math', 'reportError'],
]
const load = new Function(...NAMES, `${SOURCE}\nreturn { createSession, SessionError }`)

const turnOfTheLoop = () => new Promise((resolve) => setImmediate(resolve))

export class Browser {
  origin = 'https://app.example.com'
  /** The truth, in milliseconds; the server's clock. */
  now = Date.parse('2026-01-01T00:00:00Z')
  /** How wrong this machine's clock is. */
  clockError = 0
  monotonic = 0
  cookie = null
  latency = 5
  messageDelay = 1
  offline = false
  random = 0
  tabs = []
  timers = []
  local = new Map()
  server = new Server(() => this.now)

  tab(options) {
    const tab = new Tab(this, options)
    this.tabs.push(tab)
    return tab
  }

  after(milliseconds, call, tab = null) {
    const timer = { at: this.monotonic + milliseconds, call, tab }
    this.timers.push(timer)
    return timer
  }

  cancel(timer) {
    this.timers = this.timers.filter((each) => each !== timer)
  }

  /** Let what is under way without time come to its end. */
  async settle() {
    for (let turns = 0; turns < 12; turns += 1) await turnOfTheLoop()
  }

  /** Let seconds pass, each timer at its time. */
  async pass(seconds) {
    const until = this.monotonic + seconds * 1000
    for (;;) {
      await this.settle()
      const [timer] = this.timers
        .filter(({ at, tab }) => at <= until && !tab?.frozen)
        .sort((first, second) => first.at - second.at)
      const step = Math.max(0, (timer ? timer.at : until) - this.monotonic)
      this.monotonic += step
      this.now += step
      if (!timer) return this.settle()
      this.cancel(timer)
      timer.call()
    }
  }

  /** The machine sleeps: no timer runs, and the clock that cannot be set stands still. */
  sleep(seconds) {
    this.now += seconds * 1000
  }
}

export class Tab {
  frozen = false
  errors = []
  channels = new Set()
  window = new EventTarget()
  listeners = 0

  constructor(browser, { session = new Map(), hidden = false, without = [], start = true, ...options } = {}) {
    this.browser = browser
    this.session_ = session
    this.document = this.counted(new EventTarget())
    this.document.hidden = hidden
    this.window = this.counted(new EventTarget())
    Object.assign(this.window, this.globals(without))
    Object.assign(this, load(...NAMES.map((name) => (name === 'globalThis' ? this.window : this.window[name]))))
    if (start) this.open(options)
  }

  open(options) {
    this.session = this.createSession({ base: '/auth/', tenant: undefined, ...options })
    this.events = []
    for (const type of ['signed-in', 'signed-out', 'reauthenticate', 'tenant-idle', 'idle-soon', 'refreshed', 'degraded'])
      this.session.on(type, (detail) => this.events.push([type, detail]))
  }

  get snapshot() {
    return this.session.getSnapshot()
  }

  get status() {
    return this.snapshot.status
  }

  heard(type) {
    return this.events.filter(([each]) => each === type).map(([, detail]) => detail)
  }

  get timers() {
    return this.browser.timers.filter(({ tab }) => tab === this)
  }

  /** A copy, as a browser makes it: with the session storage of the original. */
  duplicate(options) {
    return this.browser.tab({ session: new Map(this.session_), ...options })
  }

  /** The same tab with a new page. */
  reload(options) {
    this.close()
    return this.duplicate(options)
  }

  close() {
    for (const channel of this.channels) channel.close()
    this.browser.timers = this.browser.timers.filter(({ tab }) => tab !== this)
    this.frozen = true
  }

  fire(target, type, more) {
    target.dispatchEvent(Object.assign(new Event(type), more))
  }

  hide(hidden = true) {
    this.document.hidden = hidden
    this.fire(this.document, 'visibilitychange')
  }

  input(type = 'pointerdown') {
    this.fire(this.window, type)
  }

  freeze() {
    this.frozen = true
  }

  thaw() {
    this.frozen = false
    this.fire(this.document, 'resume')
  }

  intoCache() {
    this.fire(this.window, 'pagehide', { persisted: true })
    this.frozen = true
  }

  outOfCache() {
    this.frozen = false
    this.fire(this.window, 'pageshow', { persisted: true })
  }

  counted(target) {
    for (const [name, step] of [
      ['addEventListener', 1],
      ['removeEventListener', -1],
    ]) {
      const method = target[name].bind(target)
      target[name] = (...args) => {
        this.listeners += step
        method(...args)
      }
    }
    return target
  }

  globals(without) {
    const { browser } = this
    const tab = this
    const storage = (map) => ({
      getItem: (name) => map.get(name) ?? null,
      setItem: (name, value) => void map.set(name, String(value)),
      removeItem: (name) => void map.delete(name),
    })
    const denied = () => {
      throw new DOMException('denied', 'SecurityError')
    }
    const globals = {
      document: this.document,
      location: new URL(`${browser.origin}/page`),
      localStorage: storage(browser.local),
      sessionStorage: storage(this.session_),
      BroadcastChannel: class {
        constructor(name) {
          this.name = name
          this.tab = tab
          tab.channels.add(this)
        }
        postMessage(message) {
          const copy = structuredClone(message)
          for (const other of browser.tabs)
            for (const channel of other.channels)
              if (channel !== this && channel.name === this.name)
                browser.after(browser.messageDelay, () => other.channels.has(channel) && channel.onmessage?.({ data: copy }), other)
        }
        close() {
          tab.channels.delete(this)
        }
      },
      Request: class extends Request {
        static [Symbol.hasInstance](value) {
          return value instanceof Request
        }
        constructor(input, init) {
          super(typeof input === 'string' ? new URL(input, browser.origin) : input, init)
        }
      },
      fetch: (input, init) => tab.send(input, init),
      setTimeout: (call, milliseconds) => browser.after(Math.max(0, milliseconds), call, tab),
      clearTimeout: (timer) => browser.cancel(timer),
      Date: class extends Date {
        static now() {
          return browser.now + browser.clockError
        }
      },
      performance: { now: () => browser.monotonic },
      Math: Object.assign(Object.create(Object.prototype, Object.getOwnPropertyDescriptors(Math)), {
        // Where it is used for a name of its own it has to differ.
        random: () => browser.random + Math.random() * 1e-9,
      }),
      reportError: (error) => void tab.errors.push(error),
    }
    for (const name of without)
      if (name === 'BroadcastChannel') delete globals[name]
      else if (name.endsWith('Storage'))
        globals[name] = { getItem: denied, setItem: denied, removeItem: denied }
    return globals
  }

  /** The network. The cookie of an answer is kept when it arrives, unless the request was given up before. */
  send(input, init) {
    const { browser } = this
    const request = new Request(input, init)
    return new Promise((resolve, reject) => {
      const stop = () => reject(request.signal.reason)
      if (request.signal.aborted) return stop()
      request.signal.addEventListener('abort', stop)
      const lost = () => reject(new TypeError('Failed to fetch'))
      browser.after(browser.latency / 2, async () => {
        if (browser.offline) return lost()
        const answer = await browser.server.handle(request, browser.cookie)
        if (answer instanceof Error) return lost()
        const arrive = () => {
          if (request.signal.aborted) return
          if (answer.cookie !== undefined) browser.cookie = answer.cookie
          const { status, body, headers } = answer
          const text = typeof body === 'string' ? body : JSON.stringify(body)
          const response = new Response(status === 204 ? null : text, { status, headers })
          resolve(response)
        }
        browser.after((answer.delay ?? 0) * 1000 + browser.latency / 2, arrive, this)
      })
    })
  }
}

/** A browser with one tab in which Ann is signed in. */
export async function signedIn({ clockError = 0, ...options } = {}) {
  const browser = new Browser()
  browser.clockError = clockError
  Object.assign(browser.server, options.server)
  const tab = browser.tab(options)
  await browser.pass(0.1)
  await during(browser, tab.session.signIn({ email: 'ann', password: 'ann secret' }))
  browser.server.log.length = 0
  tab.events.length = 0
  return { browser, server: browser.server, tab, session: tab.session }
}

/** The result of a promise that needs time to pass. */
export async function during(browser, promise, seconds = 0.1) {
  const result = promise.then(
    (value) => () => value,
    (error) => () => {
      throw error
    },
  )
  await browser.pass(seconds)
  const pending = () => {
    throw new Error(`still pending after ${seconds} s`)
  }
  return (await Promise.race([result, turnOfTheLoop().then(() => pending)]))()
}
