/**
 * axios (1.12 or newer): requests of this instance go through the `fetch` of a session. So the token goes to the same
 * origins, is refreshed and the request sent once more alike, and each answer counts.
 *
 *     const api = axios.create({ baseURL: '/api/' })
 *     attachSession(api, session)
 *
 * @param {{ interceptors: { request: { use: (change: (config: any) => any) => number, eject: (id: number) => void } } }}
 *   instance
 * @param {{ fetch: typeof fetch }} session
 * @returns {() => void} Stops it.
 */
export function attachSession({ interceptors: { request } }, session) {
  const id = request.use((config) => ({ ...config, adapter: 'fetch', env: { ...config.env, fetch: session.fetch } }))
  return () => request.eject(id)
}
