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
export declare function sessionStore<Snapshot>(session: {
    subscribe: (listener: () => void) => () => void;
    getSnapshot: () => Snapshot;
}): {
    subscribe: (run: (value: Snapshot) => void) => () => void;
};
