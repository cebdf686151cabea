/**
 * What `{% jwt_sessions_script %}` loads: it makes the session of the page with the configuration that the tag wrote.
 * Other modules of the page get it by `await jwtSession`.
 *
 * The module is found by the address in the configuration, since a name in an import would not be the hashed one.
 */

const { module, ...options } = JSON.parse(
  /** @type {HTMLElement} */ (document.getElementById('jwt-sessions-config')).textContent ?? '',
)

Object.assign(globalThis, {
  jwtSession: import(module).then(({ createSession }) => createSession(options)),
})
