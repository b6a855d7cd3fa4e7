/** The connection of this window to its server, as the settings say, with its trace and its place in the status bar. */

import * as vscode from "vscode";

import { Client, type ConnectionState } from "./client/client.js";
import { program, webSocket } from "./client/transports.js";

const TOKEN = "turnloom.token";

export class Link implements vscode.Disposable {
  private client: Client | undefined;
  private address = "";
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

  /** Whether other windows and programs can reach the same server. */
  get isShared(): boolean {
    return url() !== "";
  }

  /** Ends the connection and makes one as the settings say now; open chats go on there. */
  async restart(): Promise<void> {
    await this.current.reconnect();
  }

  /** A client of its own to the same server, for a second view of a thread. */
  another(): Client {
    return new Client(this.options("", "second "));
  }

  async setToken(token: string | undefined): Promise<void> {
    if (token === undefined || token === "") await this.context.secrets.delete(TOKEN);
    else await this.context.secrets.store(TOKEN, token);
  }

  dispose(): void {
    this.client?.close();
    this.bar.dispose();
  }

  private make(): Client {
    const client = new Client(this.options(this.folder(), ""));
    client.onState((state) => {
      if (client === this.client) this.show(state);
      if ("reason" in state) this.output.warn(`no connection to ${this.address}: ${state.reason}`);
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
      this.output.info(`connecting to ${this.address}`);
      if (url() !== "") return webSocket({ url: url(), token: await this.context.secrets.get(TOKEN) })();
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

  private show(state: ConnectionState): void {
    const [text, tip] = {
      connecting: () => ["$(sync~spin) Turnloom", `connecting to ${this.address}`],
      connected: () => ["$(circle-filled) Turnloom", `connected to ${this.address}`],
      waiting: () => ["$(warning) Turnloom", `no connection to ${this.address}: ${(state as { reason: string }).reason}`],
      closed: () => ["$(circle-outline) Turnloom", (state as { reason: string }).reason],
    }[state.kind]() as [string, string];
    this.bar.text = text;
    this.bar.tooltip = tip;
    this.bar.accessibilityInformation = { label: `Turnloom: ${tip}` };
  }
}

function url(): string {
  return vscode.workspace.getConfiguration("turnloom").get<string>("url", "").trim();
}

function command(): string[] {
  return vscode.workspace.getConfiguration("turnloom").get<string[]>("command", ["turnloom", "app-server"]);
}
