/**
 * React: a hook that answers the snapshot of a session and renders again when it changes.
 *
 * React is handed in, so that this file needs no bundler and works with any copy of React:
 *
 *     import { useSyncExternalStore } from 'react'
 *     export const useSession = createUseSession(session, useSyncExternalStore)
 *
 * @template Snapshot
 * @param {{ subscribe: (listener: () => void) => () => void, getSnapshot: () => Snapshot }} session
 * @param {<T>(subscribe: (listener: () => void) => () => void, get: () => T, getOnServer?: () => T) => T} useStore
 *   React's `useSyncExternalStore`.
 * @returns {() => Snapshot}
 */
export function createUseSession({ subscribe, getSnapshot }, useStore) {
  return () => useStore(subscribe, getSnapshot, getSnapshot)
}
