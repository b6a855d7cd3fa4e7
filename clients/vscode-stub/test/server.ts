/** Real servers for tests: the program on its offline demo model, each with a home of its own. */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import * as net from "node:net";
import { tmpdir } from "node:os";
import * as path from "node:path";

import WebSocket, { WebSocketServer, type RawData } from "ws";

/** `TURNLOOM` names the program; else it is that of the checkout, or one on the PATH. */
export const TURNLOOM = process.env.TURNLOOM ?? inCheckout() ?? "turnloom";

function inCheckout(): string | undefined {
  const program = path.resolve(__dirname, "../../../../.venv/bin/turnloom");
  return existsSync(program) ? program : undefined;
}

export class Home {
  private constructor(readonly folder: string) {}

  static async make(): Promise<Home> {
    const folder = await realpath(await mkdtemp(path.join(tmpdir(), "turnloom-client-")));
    await writeFile(path.join(folder, "config.toml"), 'model_provider = "demo"\n');
    return new Home(folder);
  }

  get environment(): NodeJS.ProcessEnv {
    return { ...process.env, CODEX_HOME: this.folder };
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A daemon that listens until it is stopped. */
export class Daemon {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
  ) {}

  static async start(home: Home, ...options: string[]): Promise<Daemon> {
    const listen = options.includes("--listen") ? [] : ["--listen", "ws://127.0.0.1:0"];
    const child = spawn(TURNLOOM, ["app-server", ...listen, ...options], {
      env: home.environment,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    const url = await new Promise<string>((resolve, reject) => {
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        const found = /listening on ([a-z]+:\/\/[^\s"]+)/.exec(said);
        if (found?.[1] !== undefined) resolve(found[1]);
      });
      child.once("error", reject);
      child.once("close", (code) => reject(new Error(`the daemon ended with ${code}: ${said}`)));
    });
    return new Daemon(child, url);
  }

  async kill(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "close");
    this.child.kill(signal);
    await ended;
  }
}

/** Stands between client and server, and can cut the line. */
export class Wire {
  private readonly pairs = new Set<net.Socket>();

  private constructor(
    private readonly server: net.Server,
    readonly url: string,
  ) {}

  static async to(url: string): Promise<Wire> {
    const target = new URL(url);
    const server = net.createServer((near) => {
      const far = net.connect(Number(target.port), target.hostname);
      for (const [from, into] of [[near, far], [far, near]] as const) {
        wire.pairs.add(from);
        from.pipe(into);
        from.on("error", () => into.destroy()).on("close", () => into.destroy());
      }
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const wire: Wire = new Wire(server, `ws://127.0.0.1:${(server.address() as net.AddressInfo).port}`);
    return wire;
  }

  cut(): void {
    for (const socket of this.pairs) socket.destroy();
    this.pairs.clear();
  }

  close(): void {
    this.cut();
    this.server.close();
  }
}

/** Stands between clients and a daemon, and can ask the clients what the daemon does not ask by itself. */
export class Relay {
  private readonly near = new Set<WebSocket>();
  private readonly asked = new Map<string, (answer: unknown) => void>();

  private constructor(
    private readonly server: WebSocketServer,
    readonly url: string,
  ) {}

  static async to(target: string): Promise<Relay> {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
    await once(server, "listening");
    const relay: Relay = new Relay(server, `ws://127.0.0.1:${(server.address() as net.AddressInfo).port}`);
    server.on("connection", (near) => relay.join(near, new WebSocket(target, { perMessageDeflate: false })));
    return relay;
  }

  /** Puts a question to every client; resolves with the first answer, which the others are told of. */
  async ask(id: string, method: string, params: { threadId: string }): Promise<unknown> {
    const answered = new Promise<unknown>((resolve) => this.asked.set(id, resolve));
    this.tell({ id, method, params });
    const answer = await answered;
    this.tell({ method: "serverRequest/resolved", params: { threadId: params.threadId, requestId: id } });
    return answer;
  }

  close(): void {
    for (const near of this.near) near.terminate();
    this.server.close();
  }

  private tell(message: object): void {
    for (const near of this.near) near.send(JSON.stringify(message));
  }

  private join(near: WebSocket, far: WebSocket): void {
    this.near.add(near);
    const early: RawData[] = [];
    near.on("message", (data) => {
      const { id, method, result, error } = JSON.parse(data.toString()) as Record<string, unknown>;
      const answer = method === undefined ? this.asked.get(String(id)) : undefined;
      if (answer !== undefined) answer(result ?? error);
      else if (far.readyState === WebSocket.OPEN) far.send(data.toString());
      else early.push(data);
    });
    far.on("open", () => early.forEach((data) => far.send(data.toString())));
    far.on("message", (data) => near.send(data.toString()));
    far.on("error", () => near.terminate()).on("close", () => near.close());
    near.on("close", () => {
      this.near.delete(near);
      far.close();
    });
  }
}

/** Collects what comes, and lets a test wait until there is what it looks for. */
export class Seen<T> {
  readonly all: T[] = [];
  private readonly waiting = new Set<() => void>();

  readonly add = (item: T): void => {
    this.all.push(item);
    for (const look of [...this.waiting]) look();
  };

  async until(wanted: (item: T) => boolean): Promise<T> {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.all.find(wanted);
        if (found === undefined) return;
        this.waiting.delete(look);
        resolve(found);
      };
      this.waiting.add(look);
      look();
    });
  }
}
