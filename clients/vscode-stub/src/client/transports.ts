/** The ways to a server: a program of our own over stdin and stdout, a websocket, or a websocket on a local socket. */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { StringDecoder } from "node:string_decoder";

import WebSocket from "ws";

import type { Transport } from "./peer.js";

/** Makes a new connection; called again after each loss. Rejects if there is no way to the server. */
export type Connect = () => Promise<Transport>;

/** Why there is no way: the program is not there, the server wants another token, or anything else. */
export type WhyNot = "noProgram" | "token" | "other";

export class CannotConnect extends Error {
  override readonly name = "CannotConnect";
  constructor(
    readonly why: WhyNot,
    message: string,
  ) {
    super(message);
  }
}

/** A message of the server may be long (a whole history); a longer one than this ends the connection. */
const MAX_MESSAGE_BYTES = 256 * 1024 * 1024;

export interface ProgramOptions {
  /** The program and its arguments, for example `["turnloom", "app-server"]`. */
  command: readonly string[];
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Gets what the program writes to stderr: its log. */
  onLog?: (text: string) => void;
}

/** Starts a server that lives as long as the connection. */
export function program(options: ProgramOptions): Connect {
  const [file, ...args] = options.command;
  return () =>
    new Promise((resolve, reject) => {
      if (file === undefined) return reject(new CannotConnect("noProgram", "there is no command to start"));
      const child = spawn(file, args, { cwd: options.cwd, env: options.env ?? process.env, stdio: "pipe" });
      const lines = new Lines();
      const received = new Spaced<string>((line) => transport.onMessage(line));
      let lastWords = "";
      const transport: Transport = {
        send: (message) => void child.stdin.write(message + "\n"),
        // The server answers what it has read and leaves; one that does not is ended.
        close: () => {
          child.stdin.end();
          setTimeout(() => child.kill(), 5_000).unref();
        },
        onMessage: () => {},
        onClose: () => {},
      };
      child.once("error", (error: NodeJS.ErrnoException) => reject(notStarted(file, options.cwd, error)));
      child.once("spawn", () => resolve(transport));
      child.once("close", (code, signal) => {
        const how = signal ? `by ${signal}` : `with status ${code}`;
        // What it has said before may still be on its way to the listener.
        received.end(() => transport.onClose(`${file} has ended ${how}${code === 0 || lastWords === "" ? "" : `: ${lastWords}`}`));
      });
      // A program that has gone is told by "close"; writing to it then is no error of its own.
      child.stdin.on("error", () => {});
      child.stdout.on("data", (chunk: Buffer) => lines.feed(chunk).forEach((line) => received.add(line)));
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        lastWords = text.trim().split("\n").at(-1)?.slice(0, 300) || lastWords;
        options.onLog?.(text);
      });
    });
}

export interface WebSocketOptions {
  /** `ws://HOST:PORT`, `wss://...`, or `unix:///path/of/the.sock`. */
  url: string;
  /** Sent as a bearer token. */
  token?: string | undefined;
}

/** Connects to a server that is running already. */
export function webSocket(options: WebSocketOptions): Connect {
  const url = options.url.startsWith("unix://") ? `ws+unix://${options.url.slice("unix://".length)}:/` : options.url;
  const headers = options.token ? { Authorization: `Bearer ${options.token}` } : {};
  return () =>
    new Promise((resolve, reject) => {
      // The server compresses nothing, and an Origin would be refused: none is sent.
      const socket = new WebSocket(url, {
        headers,
        perMessageDeflate: false,
        maxPayload: MAX_MESSAGE_BYTES,
        allowSynchronousEvents: false,
      });
      let failure = "";
      const fail = (why: WhyNot) => reject(new CannotConnect(why, `${options.url}: ${failure}`));
      const transport: Transport = {
        send: (message) => socket.send(message, () => {}),
        close: () => socket.close(),
        onMessage: () => {},
        onClose: () => {},
      };
      socket.once("open", () => resolve(transport));
      socket.on("message", (data, isBinary) => {
        if (!isBinary) transport.onMessage(data.toString());
      });
      socket.on("unexpected-response", (request, response) => {
        const status = response.statusCode ?? 0;
        const isToken = status === 401 || status === 403;
        const token = options.token ? "the server refuses the token" : "the server asks for a token";
        failure = isToken ? token : `the server answers with HTTP ${status}`;
        request.destroy();
        fail(isToken ? "token" : "other");
      });
      socket.on("error", (error) => {
        failure ||= error.message;
        fail("other");
      });
      socket.once("close", (code, reason) => {
        transport.onClose(reason.toString() || failure || `the connection was closed (${code})`);
      });
    });
}

/** `spawn` calls a missing folder by the name of the program, too. */
function notStarted(file: string, cwd: string | undefined, error: NodeJS.ErrnoException): CannotConnect {
  if (error.code !== "ENOENT") return new CannotConnect("other", `${file} cannot be started: ${error.message}`);
  if (cwd !== undefined && !existsSync(cwd)) return new CannotConnect("other", `${file} cannot be started: there is no folder ${cwd}`);
  return new CannotConnect("noProgram", `${file} cannot be started: there is no such program`);
}

/** Hands on what comes at once one by one, with a turn of the event loop between. */
class Spaced<T> {
  private readonly waiting: T[] = [];
  private isBusy = false;
  private atEnd: (() => void) | undefined;

  constructor(private readonly take: (item: T) => void) {}

  add(item: T): void {
    this.waiting.push(item);
    if (!this.isBusy) this.next();
  }

  /** Calls `then` once, after everything was handed on. */
  end(then: () => void): void {
    if (this.isBusy) this.atEnd = then;
    else then();
  }

  private next(): void {
    this.isBusy = this.waiting.length > 0;
    if (!this.isBusy) return this.atEnd?.();
    this.take(this.waiting.shift() as T);
    setImmediate(() => this.next());
  }
}

/** Puts lines together from chunks that may end anywhere, also within a character. */
class Lines {
  private readonly decoder = new StringDecoder("utf8");
  private parts: string[] = [];

  feed(chunk: Buffer): string[] {
    const [first = "", ...others] = this.decoder.write(chunk).split("\n");
    this.parts.push(first);
    const last = others.pop();
    if (last === undefined) return [];
    const lines = [this.parts.join(""), ...others];
    this.parts = [last];
    return lines.filter((line) => line.trim() !== "");
  }
}
