/**
 * Sign-in sessions of django-jwt-sessions in the browser.
 *
 * The refresh token stays in an HttpOnly cookie and the access token in memory. There is no lock between tabs: the
 * server answers a refresh token that was just rotated with the identical successor, so two refreshes at once are
 * harmless. What tabs tell each other only spares requests.
 */
export type Status = 'unknown' | 'signed-in' | 'signed-out' | 'reauthenticate';
export type Options = {
    /**
     * Where `jwt_sessions.urls` is included, such as `/auth/`.
     */
    base: string;
    /**
     * The tenant of this tab. Without it, the one that this tab had before it was reloaded.
     */
    tenant?: string;
    /**
     * The audience of the access tokens; the server's default one if left out.
     */
    audience?: string;
    /**
     * The origins that `fetch` sends the token to: the page's own, if left out.
     */
    origins?: string[];
    /**
     * Refresh by a timer while the tab is visible.
     */
    keepAlive?: boolean;
    /**
     * How long before the session ends `idle-soon` is told, in seconds.
     */
    warnBefore?: number;
    /**
     * The server's `REUSE_GRACE_PERIOD`, in seconds.
     */
    gracePeriod?: number;
};
export type Snapshot = {
    status: Status;
    /**
     * Why nobody is signed in, or why the password is asked for.
     */
    reason: string | null;
    userId: string | null;
    sessionId: string | null;
    tenant: string | null;
    /**
     * ISO 8601, by the server's clock.
     */
    sessionExpiresAt: string | null;
    /**
     * ISO 8601, by the server's clock.
     */
    idleExpiresAt: string | null;
    /**
     * The last refresh failed, and it is tried again.
     */
    degraded: boolean;
};
export type Events = {
    "signed-in": {};
    "signed-out": {
        reason: string | null;
    };
    /**
     * The password is asked for: it is older than `maxAge` seconds.
     */
    reauthenticate: {
        maxAge: number | null;
    };
    "tenant-idle": {
        tenant: string | null;
    };
    "idle-soon": {
        seconds: number;
    };
    /**
     * There is a new access token, from the server or (`shared`) another tab.
     */
    refreshed: {
        shared: boolean;
    };
    degraded: {};
};
export type Answer = Record<string, unknown>;
export type Mark = [wall: number, monotonic: number];
export type Epoch = {
    epoch: string;
    sid: string | null;
    reason: string | null;
    out: boolean;
};
export type Token = {
    value: string;
    /**
     * When it was answered.
     */
    at: Mark;
    /**
     * How long it is good, all in milliseconds after `at`.
     */
    life: number;
    /**
     * When it is time to refresh it.
     */
    fresh: number;
    /**
     * The same, less a random tenth.
     */
    due: number;
    /**
     * When the session ends.
     */
    ends: number;
    /**
     * When the session ends if the user does nothing.
     */
    idle: number;
};
/** An error of the session. `terminal`: only signing in helps. It never holds a token. */
export declare class SessionError extends Error {
    code: string;
    reason: string | null;
    terminal: boolean;
    status: number;
    maxAge: number | null;
    retryAfter: number;
    /**
     * @param {string} code A code of the server, or `NETWORK_ERROR`, `TIMEOUT`, `UNEXPECTED_ANSWER`, `SESSION_CHANGED`
     *   (another one than when it was asked), `UNAVAILABLE` (disposed of, or no browser).
     * @param {{ reason?: string | null, terminal?: boolean, status?: number, maxAge?: number | null,
     *   retryAfter?: number }} [more] `maxAge` and `retryAfter` in seconds; `status` is 0 where no answer came.
     */
    constructor(code: string, { reason, terminal, status, maxAge, retryAfter }?: {
        reason?: string | null;
        terminal?: boolean;
        status?: number;
        maxAge?: number | null;
        retryAfter?: number;
    });
}
/**
 * The session of this tab. It begins with a silent refresh by the cookie.
 *
 * @param {Options} options
 */
export declare function createSession({ base, tenant: givenTenant, audience, origins, keepAlive, warnBefore, gracePeriod, }: Options): {
    /** Settled when the first refresh is answered or given up; never rejected. */
    ready: Promise<void>;
    getSnapshot: () => Readonly<Snapshot>;
    /** @param {() => void} listener @returns {() => void} */
    subscribe(listener: () => void): () => void;
    /**
     * @template {keyof Events} Type
     * @param {Type} type
     * @param {(detail: Events[Type]) => void} listener
     * @returns {() => void} Stops it.
     */
    on<Type extends keyof Events>(type: Type, listener: (detail: Events[Type]) => void): () => void;
    getAccessToken: ({ minValidity, background }?: {
        minValidity?: number;
        background?: boolean;
    }) => Promise<string>;
    /**
     * `fetch` with the access token, to `origins`. After `EXPIRED_TOKEN` it is refreshed and sent once more, unless
     * the body is a stream. Where nobody is signed in nothing is sent.
     *
     * @param {RequestInfo | URL} input
     * @param {RequestInit} [init]
     * @throws {SessionError} There is no token to be had, or somebody else has signed in meanwhile.
     */
    fetch: (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>;
    /**
     * @param {Answer} credentials What `login/` takes; or the token answer of your own way of signing in.
     * @returns {Promise<void>}
     * @throws {SessionError}
     */
    signIn(credentials: Answer): Promise<void>;
    /**
     * Sign out here at once, and on the server as soon as it can be told.
     *
     * @returns {Promise<boolean>} Whether the server has been told. If not, it is before the next refresh.
     */
    signOut(): Promise<boolean>;
    /**
     * @param {{ password: string, tenantId?: string } | Answer} credentials
     * @returns {Promise<void>}
     * @throws {SessionError}
     */
    reauthenticate(credentials: {
        password: string;
        tenantId?: string;
    } | Answer): Promise<void>;
    /**
     * Act for another tenant in this tab. If that fails the tab keeps the one it had; unless the new one is idle, for
     * then the password opens it.
     *
     * @param {string | null} id
     * @returns {Promise<void>}
     * @throws {SessionError}
     */
    switchTenant(id: string | null): Promise<void>;
    devices: {
        /** @returns {Promise<Answer[]>} */
        list: () => Promise<Answer[]>;
        /** @param {string} id @param {string} name @returns {Promise<Answer>} */
        rename: (id: string, name: string) => Promise<Answer>;
        /** @param {string} id @returns {Promise<void>} */
        end(id: string): Promise<void>;
        /** @returns {Promise<number>} How many were ended. */
        endOthers: () => Promise<number>;
        /** @returns {Promise<number>} How many were ended, this one among them. */
        endAll(): Promise<number>;
    };
    /** Stop all timers, listeners and the channel. The session itself lives on. */
    dispose(): void;
};
export type Session = ReturnType<typeof createSession>;
/** @typedef {ReturnType<typeof createSession>} Session */
