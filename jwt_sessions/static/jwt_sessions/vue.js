/**
 * Vue: a shallow ref that holds the snapshot of a session. It stops with the component or effect scope that made it.
 *
 * Vue is handed in, so that this file needs no bundler:
 *
 *     import * as vue from 'vue'
 *     const snapshot = useSession(session, vue)
 *
 * @template Snapshot
 * @template Ref
 * @param {{ subscribe: (listener: () => void) => () => void, getSnapshot: () => Snapshot }} session
 * @param {{
 *   shallowRef: (value: Snapshot) => Ref & { value: Snapshot },
 *   getCurrentScope: () => unknown,
 *   onScopeDispose: (stop: () => void) => void,
 * }} vue
 * @returns {Readonly<Ref & { value: Snapshot }>}
 */
export function useSession(session, { shallowRef, getCurrentScope, onScopeDispose }) {
  const snapshot = shallowRef(session.getSnapshot())
  const stop = session.subscribe(() => {
    snapshot.value = session.getSnapshot()
  })
  if (getCurrentScope()) onScopeDispose(stop)
  return snapshot
}
