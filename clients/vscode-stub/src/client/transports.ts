/** The ways to a server: a program of our own over stdin and stdout, a websocket, or a websocket on a local socket. */

import { spawn } from "node:child_process";
import { StringDecoder } from "node:string_decoder";

import WebSocket from "ws";

import type { Transport } from "./peer.js";

/** Makes a new connection; called again after each loss. Rejects if there is no way to the server. */
export type Connect = () => Promise<Transport>;

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
      if (file === undefined) return reject(new Error("there is no command to start"));
      const child = spawn(file, args, { cwd: options.cwd, env: options.env ?? process.env, stdio: "pipe" });
      const lines = new Lines();
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
      child.once("error", (error) => reject(new Error(`${file} cannot be started: ${error.message}`)));
      child.once("spawn", () => resolve(transport));
      child.once("close", (code, signal) => {
        transport.onClose(`${file} has ended ${signal ? `by ${signal}` : `with status ${code}`}`);
      });
      // A program that has gone is told by "close"; writing to it then is no error of its own.
      child.stdin.on("error", () => {});
      child.stdout.on("data", (chunk: Buffer) => lines.feed(chunk).forEach((line) => transport.onMessage(line)));
      child.stderr.setEncoding("utf8").on("data", (text: string) => options.onLog?.(text));
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
      const socket = new WebSocket(url, { headers, perMessageDeflate: false, maxPayload: MAX_MESSAGE_BYTES });
      let failure = "";
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
        failure = status === 401 || status === 403 ? "the server refuses the token" : `the server answers with HTTP ${status}`;
        request.destroy();
        reject(new Error(`${options.url}: ${failure}`));
      });
      socket.on("error", (error) => {
        failure ||= error.message;
        reject(new Error(`${options.url}: ${failure}`));
      });
      socket.once("close", (code, reason) => {
        transport.onClose(reason.toString() || failure || `the connection was closed (${code})`);
      });
    });
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
