/**
 * Svelte: a readable store that holds the snapshot of a session.
 *
 *     const snapshot = sessionStore(session)
 *     $snapshot.status
 *
 * @template Snapshot
 * @param {{ subscribe: (listener: () => void) => () => void, getSnapshot: () => Snapshot }} session
 * @returns {{ subscribe: (run: (value: Snapshot) => void) => () => void }}
 */
export function sessionStore(session) {
  return {
    subscribe(run) {
      const tell = () => run(session.getSnapshot())
      tell()
      return session.subscribe(tell)
    },
  }
}
