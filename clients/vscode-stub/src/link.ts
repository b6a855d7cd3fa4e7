/** The connection of this window to its server, as the settings say, with its trace and its place in the status bar. */

import * as vscode from "vscode";

import { Client, type ConnectionState } from "./client/client.js";
import { RpcError } from "./client/peer.js";
import { program, webSocket, type WhyNot } from "./client/transports.js";

/** Something that the user can do about a failure: the label of a button, and what it runs. */
export interface Remedy {
  label: string;
  command: string;
  argument?: unknown;
}

/** A failure that says what can be done about it. */
export class Trouble extends Error {
  constructor(
    message: string,
    readonly remedies: Remedy[],
  ) {
    super(message);
  }
}

/** The remedy of taking a server that runs already. */
export const ATTACH = { label: "Attach to a Daemon", command: "turnloom.attach" };
const REMEDIES: Record<WhyNot, Remedy[]> = {
  noProgram: [{ label: "Open Settings", command: "workbench.action.openSettings", argument: "turnloom" }, ATTACH],
  token: [{ label: "Set the Token", command: "turnloom.setToken" }],
  other: [{ label: "Show the Log", command: "turnloom.showTrace" }, ATTACH],
};

/** What has failed, as a person is told it. */
export function told(error: Error): string {
  const unknown = error instanceof RpcError ? error.unknown : undefined;
  return unknown === undefined ? error.message : `the server is older than this extension, or of another kind: it does not know ${unknown}`;
}

/** Shows what has failed, with buttons for what can be done about it. */
export async function report(error: Error): Promise<void> {
  const remedies = error instanceof Trouble ? error.remedies : [];
  const chosen = await vscode.window.showErrorMessage(`Turnloom: ${told(error)}`, ...remedies.map(({ label }) => label));
  const remedy = remedies.find(({ label }) => label === chosen);
  if (remedy !== undefined) await vscode.commands.executeCommand(remedy.command, remedy.argument);
}

export class Link implements vscode.Disposable {
  private client: Client | undefined;
  private readonly others = new Set<Client>();
  private address = "";
  private logged = "";
  private readonly bar = vscode.window.createStatusBarItem("turnloom", vscode.StatusBarAlignment.Left, 5);
  private readonly opened = new vscode.EventEmitter<Client>();
  private readonly changed = new vscode.EventEmitter<ConnectionState>();

  /** A client was made, and is about to connect: the moment to listen to it. */
  readonly onClient = this.opened.event;
  readonly onState = this.changed.event;

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly output: vscode.LogOutputChannel,
  ) {
    this.bar.name = "Turnloom";
    this.bar.command = "turnloom.attach";
    this.show({ kind: "closed", reason: "not connected yet" });
    this.bar.show();
  }

  /** The client of this window; the first call connects. */
  get current(): Client {
    return (this.client ??= this.make());
  }

  get state(): ConnectionState {
    return this.client?.state ?? { kind: "closed", reason: "not connected" };
  }

  /**
   * The client of this window as soon as it is connected. Rejects with Trouble as soon as it is known that it cannot
   * be; it goes on trying all the same.
   */
  async connected(): Promise<Client> {
    const client = this.current;
    client.hurry();
    if (client.state.kind === "connected") return client;
    return new Promise((resolve, reject) => {
      const end = client.onState((state) => {
        if (state.kind === "connected") resolve(client);
        else if (state.kind === "waiting") reject(new Trouble(`no connection to a server: ${state.reason}`, REMEDIES[state.why]));
        else return;
        end();
      });
    });
  }

  /** Whether other windows and programs can reach the same server. */
  get isShared(): boolean {
    return url() !== "";
  }

  /** Ends the connection and makes one as the settings say now; open chats go on there. */
  restart(): void {
    for (const client of [this.current, ...this.others]) {
      // Who waits for the connection hears of it; it is made again and again until it is there.
      client.reconnect().catch((error: Error) => this.output.info(error.message));
    }
  }

  /** A client of its own to the same server, for a second view of a thread, until it is let go. */
  another(): Client {
    const client = new Client(this.options("", "second "));
    this.others.add(client);
    return client;
  }

  letGo(client: Client): void {
    this.others.delete(client);
    client.close();
  }

  /** Keeps the token for the server at `address`, and for no other: settings of a workspace may name any address. */
  async setToken(address: string, token: string): Promise<void> {
    if (token === "") await this.context.secrets.delete(keyOf(address));
    else await this.context.secrets.store(keyOf(address), token);
  }

  dispose(): void {
    for (const client of [this.client, ...this.others]) client?.close();
    this.bar.dispose();
  }

  private make(): Client {
    const client = new Client(this.options(this.folder(), ""));
    client.onState((state) => {
      if (client === this.client) this.show(state);
      this.log(state);
      if (state.kind === "connected" || state.kind === "waiting") {
        const trouble = state.kind === "connected" ? "none" : state.why;
        void vscode.commands.executeCommand("setContext", "turnloom.trouble", trouble);
      }
      this.changed.fire(state);
    });
    this.client = client;
    this.opened.fire(client);
    // Whoever needs the connection waits for it, and hears why there is none.
    client.start().catch((error: Error) => this.output.error(error.message));
    return client;
  }

  private options(cwd: string, who: string) {
    const version = (this.context.extension.packageJSON as { version: string }).version;
    const clientInfo = { name: "turnloom_vscode", title: "Turnloom for VS Code", version };
    const onLog = (text: string) => this.output.info(text.trimEnd());
    // The settings are read for each connection, since they may have changed since the last one.
    const connect = async () => {
      this.address = url() || command().join(" ");
      this.output.debug(`connecting to ${this.address}`);
      if (url() !== "") return webSocket({ url: url(), token: await this.context.secrets.get(keyOf(url())) })();
      return program({ command: command(), onLog, ...(cwd === "" ? {} : { cwd }) })();
    };
    return { clientInfo, connect, trace: this.trace(who) };
  }

  private folder(): string {
    return vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? "";
  }

  private trace(who: string) {
    return (direction: "sent" | "received", message: string) => {
      this.output.trace(`${who}${direction === "sent" ? "→" : "←"} ${message}`);
    };
  }

  /** What is new; not that it fails again in the same way. */
  private log(state: ConnectionState): void {
    if (state.kind === "connecting" || state.kind === "closed") return;
    const isConnected = state.kind === "connected";
    const text = isConnected ? `connected to ${this.address}: ${state.server.userAgent}` : `no connection to ${this.why(state.reason)}`;
    if (text !== this.logged) this.output[isConnected ? "info" : "warn"](text);
    this.logged = text;
  }

  private why(reason: string): string {
    return reason.startsWith(`${this.address}: `) ? reason : `${this.address}: ${reason}`;
  }

  private show(state: ConnectionState): void {
    const [text, tip] = {
      connecting: () => ["$(sync~spin) Turnloom", `connecting to ${this.address}`],
      connected: () => ["$(circle-filled) Turnloom", `connected to ${this.address}`],
      waiting: () => ["$(warning) Turnloom", `no connection to ${this.why((state as { reason: string }).reason)}`],
      closed: () => ["$(circle-outline) Turnloom", (state as { reason: string }).reason],
    }[state.kind]() as [string, string];
    this.bar.text = text;
    this.bar.tooltip = tip;
    this.bar.accessibilityInformation = { label: `Turnloom: ${tip}` };
  }
}

function keyOf(address: string): string {
  return `turnloom.token ${address}`;
}

/** The address of the daemon that the settings name; empty for a server of this window's own. */
export function url(): string {
  return vscode.workspace.getConfiguration("turnloom").get<string>("url", "").trim();
}

function command(): string[] {
  return vscode.workspace.getConfiguration("turnloom").get<string[]>("command", ["turnloom", "app-server"]);
}
