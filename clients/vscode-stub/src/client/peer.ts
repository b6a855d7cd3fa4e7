/** One end of a connection: requests and notifications both ways, typed by method. Knows nothing of how bytes travel. */

import type {
  ClientNotification,
  ClientRequest,
  ClientRequestResults,
  RequestId,
  ServerNotification,
  ServerRequest,
  ServerRequestResults,
} from "../protocol/index.js";

/**
 * How messages travel. One call of `send` and of `onMessage` is one whole message, as text. Between two calls of
 * `onMessage` the event loop turns, so that whoever waits for an answer can listen to what comes right behind it.
 */
export interface Transport {
  send(message: string): void;
  /** Ends the connection. `onClose` is called all the same, once. */
  close(): void;
  onMessage: (message: string) => void;
  /** The connection has ended; `reason` is for a person to read. */
  onClose: (reason: string) => void;
}

export type Method = ClientRequest["method"];
export type Params<M extends Method> = Extract<ClientRequest, { method: M }>["params"];
export type Result<M extends Method> = M extends keyof ClientRequestResults ? ClientRequestResults[M] : never;

export type NotificationMethod = ServerNotification["method"];
export type NotificationParams<M extends NotificationMethod> = Extract<ServerNotification, { method: M }>["params"];

export type ServerMethod = ServerRequest["method"];
export type ServerParams<M extends ServerMethod> = Extract<ServerRequest, { method: M }>["params"];
export type ServerResult<M extends ServerMethod> = M extends keyof ServerRequestResults
  ? ServerRequestResults[M]
  : never;

/** The server answered with an error. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  constructor(
    readonly code: number,
    message: string,
    readonly data?: unknown,
  ) {
    super(message);
  }

  /** What the server has never heard of, a method or a value: it is older than its caller, or another kind of server. */
  get unknown(): string | undefined {
    const name = /unknown (?:method|variant) `([^`]+)`/.exec(this.message)?.[1];
    return name ?? (this.code === METHOD_NOT_FOUND ? "the method" : undefined);
  }
}

/** The connection ended before the answer came. Whether the request was carried out is not known. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

/** No answer came in time. Whether the request was carried out is not known. */
export class RequestTimeout extends Error {
  override readonly name = "RequestTimeout";
}

export interface RequestOptions {
  /** How long to wait for the answer; the default is a minute, 0 waits for ever. */
  timeoutMs?: number;
  /** Stops waiting. The protocol has no way to take a request back: the server carries it out and its answer is dropped. */
  signal?: AbortSignal;
}

/** Answers a request of the server. `signal` is aborted when another client answered first, or the connection ended. */
export type ServerRequestHandler<M extends ServerMethod> = (
  params: ServerParams<M>,
  asked: { id: RequestId; signal: AbortSignal },
) => Promise<ServerResult<M>>;

/** Sees every message as it goes over the wire. */
export type Trace = (direction: "sent" | "received", message: string) => void;

interface Waiting {
  method: string;
  resolve(result: unknown): void;
  reject(error: Error): void;
}

type AnyListener = (params: unknown) => void;
type AnyHandler = ServerRequestHandler<ServerMethod>;

const METHOD_NOT_FOUND = -32601;
const INTERNAL_ERROR = -32603;

export class Peer {
  private readonly waiting = new Map<RequestId, Waiting>();
  private readonly asked = new Map<RequestId, AbortController>();
  private nextId = 1;
  private endedBy: string | undefined;

  /**
   * @param dispatch what to do with notifications and requests of the server; shared by the peers that follow each
   *     other when a connection is lost and made again.
   */
  constructor(
    private readonly transport: Transport,
    private readonly dispatch: Dispatch,
    private readonly trace: Trace = () => {},
  ) {
    transport.onMessage = (message) => this.receive(message);
    transport.onClose = (reason) => this.end(reason);
  }

  /** Called once, when the connection has ended. */
  onEnd: (reason: string) => void = () => {};

  request<M extends Method>(method: M, params: Params<M>, options: RequestOptions = {}): Promise<Result<M>> {
    const { timeoutMs = 60_000, signal } = options;
    if (this.endedBy !== undefined) return Promise.reject(new ConnectionLost(this.endedBy));
    if (signal?.aborted) return Promise.reject(asError(signal.reason));
    const id = this.nextId++;
    return new Promise<Result<M>>((resolve, reject) => {
      const timer =
        timeoutMs > 0
          ? setTimeout(() => settle(() => reject(new RequestTimeout(`${method}: no answer in ${timeoutMs} ms`))), timeoutMs)
          : undefined;
      const onAbort = () => settle(() => reject(asError(signal?.reason)));
      const settle = (finish: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        this.waiting.delete(id);
        finish();
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.waiting.set(id, {
        method,
        resolve: (result) => settle(() => resolve(result as Result<M>)),
        reject: (error) => settle(() => reject(error)),
      });
      this.send({ id, method, params });
    });
  }

  notify<M extends ClientNotification["method"]>(method: M): void {
    if (this.endedBy === undefined) this.send({ method });
  }

  close(): void {
    this.transport.close();
  }

  private send(message: object): void {
    const text = JSON.stringify(message);
    this.trace("sent", text);
    this.transport.send(text);
  }

  private receive(text: string): void {
    this.trace("received", text);
    let message: unknown;
    try {
      message = JSON.parse(text);
    } catch {
      // A line that is no message is not ours to judge; whoever traces has seen it.
      return;
    }
    if (typeof message !== "object" || message === null) return;
    const { id, method, params, result, error } = message as Record<string, unknown>;
    if (typeof method === "string") {
      if (id === undefined) this.notified(method, params);
      else void this.answer(id as RequestId, method, params);
    } else if (id !== undefined) {
      const waiting = this.waiting.get(id as RequestId);
      if (error !== undefined && error !== null) {
        const { code, message: text, data } = error as { code: number; message: string; data?: unknown };
        waiting?.reject(new RpcError(code, text, data));
      } else waiting?.resolve(result);
    }
  }

  private notified(method: string, params: unknown): void {
    if (method === "serverRequest/resolved") {
      const { requestId } = params as NotificationParams<"serverRequest/resolved">;
      this.asked.get(requestId)?.abort(new Error("answered elsewhere, or not asked any more"));
    }
    this.dispatch.notified(method, params);
  }

  private async answer(id: RequestId, method: string, params: unknown): Promise<void> {
    const handler = this.dispatch.handler(method);
    if (handler === undefined) {
      this.send({ id, error: { code: METHOD_NOT_FOUND, message: `${method} is not supported by this client` } });
      return;
    }
    const controller = new AbortController();
    this.asked.set(id, controller);
    try {
      const result = await handler(params as never, { id, signal: controller.signal });
      if (!controller.signal.aborted) this.send({ id, result });
    } catch (error) {
      if (!controller.signal.aborted) this.send({ id, error: { code: INTERNAL_ERROR, message: asError(error).message } });
    } finally {
      this.asked.delete(id);
    }
  }

  private end(reason: string): void {
    if (this.endedBy !== undefined) return;
    this.endedBy = reason;
    const lost = new ConnectionLost(reason);
    for (const waiting of [...this.waiting.values()]) waiting.reject(lost);
    for (const controller of this.asked.values()) controller.abort(lost);
    this.onEnd(reason);
  }
}

/** Who listens to which notification, and who answers which request of the server. */
export class Dispatch {
  private readonly listeners = new Map<string, Set<AnyListener>>();
  private readonly everything = new Set<(notification: ServerNotification) => void>();
  private readonly handlers = new Map<string, AnyHandler>();

  /** Calls `listener` with each notification of that method. Returns what ends it. */
  on<M extends NotificationMethod>(method: M, listener: (params: NotificationParams<M>) => void): () => void {
    const listeners = this.listeners.get(method) ?? new Set();
    this.listeners.set(method, listeners.add(listener as AnyListener));
    return () => void listeners.delete(listener as AnyListener);
  }

  /** Calls `listener` with every notification. Returns what ends it. */
  onAny(listener: (notification: ServerNotification) => void): () => void {
    this.everything.add(listener);
    return () => void this.everything.delete(listener);
  }

  /** Makes `handler` answer the server's requests of that method; without one they are refused. */
  handle<M extends ServerMethod>(method: M, handler: ServerRequestHandler<M>): () => void {
    this.handlers.set(method, handler as unknown as AnyHandler);
    return () => void this.handlers.delete(method);
  }

  notified(method: string, params: unknown): void {
    for (const listener of [...(this.listeners.get(method) ?? [])]) listener(params);
    for (const listener of [...this.everything]) listener({ method, params } as ServerNotification);
  }

  handler(method: string): AnyHandler | undefined {
    return this.handlers.get(method);
  }
}

export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
