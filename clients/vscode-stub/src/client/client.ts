/** A client that stays connected: it says hello, follows threads, and takes up both again after a loss. */

import type { InitializeCapabilities, InitializeResponse } from "../protocol/index.js";
import type { ThreadResumeResponse } from "../protocol/v2/index.js";
import {
  ConnectionLost,
  Dispatch,
  Peer,
  asError,
  type Method,
  type NotificationMethod,
  type NotificationParams,
  type Params,
  type RequestOptions,
  type Result,
  type ServerMethod,
  type ServerRequestHandler,
  type Trace,
} from "./peer.js";
import { CannotConnect, type Connect, type WhyNot } from "./transports.js";

export type ConnectionState =
  | { kind: "connecting"; attempt: number }
  | { kind: "connected"; server: InitializeResponse }
  | { kind: "waiting"; reason: string; why: WhyNot; retryInMs: number }
  | { kind: "closed"; reason: string };

export interface ClientOptions {
  connect: Connect;
  /** Who we are: the server shows it, and puts it into `userAgent`. */
  clientInfo: { name: string; title?: string; version: string };
  capabilities?: Partial<InitializeCapabilities>;
  /** The waits between attempts, in milliseconds; the last one is repeated. An empty list gives up at the first loss. */
  backoffMs?: readonly number[];
  trace?: Trace;
}

export interface Follower {
  /** The thread was taken up again after a lost connection: its whole state, so that what was missed can be shown. */
  resumed(thread: ThreadResumeResponse): void;
  /** The server does not have the thread any more: it was deleted meanwhile, or this is another server. */
  gone?(error: Error): void;
}

/** What `thread/resume` is to tell; by default the whole thread. */
export type FollowOptions = Pick<Params<"thread/resume">, "excludeTurns" | "initialTurnsPage">;

const BACKOFF_MS = [250, 500, 1_000, 2_000, 5_000, 10_000];

export class Client {
  private readonly dispatch = new Dispatch();
  private readonly stateListeners = new Set<(state: ConnectionState) => void>();
  private readonly followed = new Map<string, { how: FollowOptions; follower: Follower }>();
  private peer: Peer | undefined;
  private connected = deferred<Peer>();
  private attempt = 0;
  /** How often it was closed: what was begun before belongs to nobody. */
  private closings = 0;
  private timer: NodeJS.Timeout | undefined;
  private current: ConnectionState = { kind: "closed", reason: "not started" };

  constructor(private readonly options: ClientOptions) {}

  get state(): ConnectionState {
    return this.current;
  }

  /** Connects, and stays connected until `close`. Resolves when the server has said hello, rejects when it is given up. */
  async start(): Promise<InitializeResponse> {
    if (this.current.kind === "closed") {
      this.connected = deferred();
      void this.attemptConnection();
    }
    await this.connected.promise;
    if (this.state.kind !== "connected") throw new ConnectionLost("the connection was lost at once");
    return this.state.server;
  }

  close(): void {
    clearTimeout(this.timer);
    this.closings++;
    const { peer } = this;
    this.peer = undefined;
    this.giveUp("closed by this client");
    peer?.close();
  }

  /** Leaves the server, if there is one, and connects anew: at once, and to where `connect` leads by now. */
  async reconnect(): Promise<InitializeResponse> {
    this.close();
    this.attempt = 0;
    return this.start();
  }

  /** Tries again at once, if it waits to do so. */
  hurry(): void {
    if (this.current.kind !== "waiting") return;
    clearTimeout(this.timer);
    void this.attemptConnection();
  }

  onState(listener: (state: ConnectionState) => void): () => void {
    this.stateListeners.add(listener);
    return () => void this.stateListeners.delete(listener);
  }

  /**
   * Sends a request; while there is no connection it waits for one, within its timeout. Rejects with RpcError,
   * ConnectionLost or RequestTimeout. A request that was sent is never sent again by itself: it may have been done.
   */
  async request<M extends Method>(method: M, params: Params<M>, options: RequestOptions = {}): Promise<Result<M>> {
    const began = Date.now();
    const { timeoutMs = 60_000, signal } = options;
    const peer = this.peer ?? (await within(this.connected.promise, timeoutMs, signal, method));
    const left = timeoutMs > 0 ? Math.max(1, timeoutMs - (Date.now() - began)) : 0;
    return peer.request(method, params, { ...options, timeoutMs: left });
  }

  on<M extends NotificationMethod>(method: M, listener: (params: NotificationParams<M>) => void): () => void {
    return this.dispatch.on(method, listener);
  }

  onAny: Dispatch["onAny"] = (listener) => this.dispatch.onAny(listener);

  handle<M extends ServerMethod>(method: M, handler: ServerRequestHandler<M>): () => void {
    return this.dispatch.handle(method, handler);
  }

  /**
   * Resumes the thread and follows it: after a lost connection it is resumed again in the same way, and the follower
   * is told its state.
   */
  async follow(threadId: string, follower: Follower, how: FollowOptions = {}): Promise<ThreadResumeResponse> {
    const thread = await this.request("thread/resume", { threadId, ...how });
    this.keep(threadId, follower, how);
    return thread;
  }

  /** Follows a thread that this connection has started or forked, and so follows already on the server's side. */
  keep(threadId: string, follower: Follower, how: FollowOptions = {}): void {
    this.followed.set(threadId, { how, follower });
  }

  async unfollow(threadId: string): Promise<void> {
    if (this.followed.delete(threadId) && this.peer) await this.request("thread/unsubscribe", { threadId });
  }

  private async attemptConnection(): Promise<void> {
    const { closings } = this;
    this.tell({ kind: "connecting", attempt: ++this.attempt });
    let peer: Peer | undefined;
    try {
      peer = new Peer(await this.options.connect(), this.dispatch, this.options.trace);
      const ended = deferred<never>();
      peer.onEnd = (reason) => ended.reject(new ConnectionLost(reason));
      const server = await Promise.race([peer.request("initialize", this.hello()), ended.promise]);
      peer.notify("initialized");
      if (this.closings !== closings) return peer.close();
      peer.onEnd = (reason) => {
        if (this.peer === peer) this.lost(reason);
      };
      this.peer = peer;
      this.attempt = 0;
      this.tell({ kind: "connected", server });
      await this.takeUp(peer);
      if (this.peer === peer) this.connected.resolve(peer);
    } catch (error) {
      peer?.close();
      if (this.closings === closings && this.peer === undefined) {
        this.lost(asError(error).message, error instanceof CannotConnect ? error.why : "other");
      }
    }
  }

  private hello(): Params<"initialize"> {
    const { clientInfo, capabilities } = this.options;
    return {
      clientInfo: { name: clientInfo.name, title: clientInfo.title ?? null, version: clientInfo.version },
      capabilities: { experimentalApi: true, ...capabilities } as InitializeCapabilities,
    };
  }

  private async takeUp(peer: Peer): Promise<void> {
    for (const [threadId, { how, follower }] of [...this.followed]) {
      try {
        follower.resumed(await peer.request("thread/resume", { threadId, ...how }));
      } catch (error) {
        if (error instanceof ConnectionLost) return;
        this.followed.delete(threadId);
        follower.gone?.(asError(error));
      }
    }
  }

  private lost(reason: string, why: WhyNot = "other"): void {
    if (this.peer !== undefined) {
      this.peer = undefined;
      this.connected = deferred();
    }
    if (this.current.kind === "closed") return;
    const waits = this.options.backoffMs ?? BACKOFF_MS;
    const wait = waits[Math.min(Math.max(this.attempt - 1, 0), waits.length - 1)];
    if (wait === undefined) return this.giveUp(reason);
    // Many clients of one server come back at different moments.
    const retryInMs = Math.round(wait * (0.75 + Math.random() / 2));
    this.tell({ kind: "waiting", reason, why, retryInMs });
    this.timer = setTimeout(() => void this.attemptConnection(), retryInMs);
  }

  private giveUp(reason: string): void {
    this.tell({ kind: "closed", reason });
    this.connected.reject(new ConnectionLost(reason));
  }

  private tell(state: ConnectionState): void {
    this.current = state;
    for (const listener of [...this.stateListeners]) listener(state);
  }
}

interface Deferred<T> {
  promise: Promise<T>;
  resolve(value: T): void;
  reject(error: Error): void;
}

function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((yes, no) => ([resolve, reject] = [yes, no]));
  // Who waits hears of a rejection; that nobody waits is no error.
  promise.catch(() => {});
  return { promise, resolve, reject };
}

function within<T>(promise: Promise<T>, timeoutMs: number, signal: AbortSignal | undefined, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = timeoutMs > 0 ? setTimeout(() => finish(() => reject(notConnected())), timeoutMs) : undefined;
    const notConnected = () => new ConnectionLost(`${what}: no connection to the server in ${timeoutMs} ms`);
    const onAbort = () => finish(() => reject(asError(signal?.reason)));
    const finish = (settle: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      settle();
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    promise.then(
      (value) => finish(() => resolve(value)),
      (error: unknown) => finish(() => reject(asError(error))),
    );
  });
}
