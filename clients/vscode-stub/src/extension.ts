/** Turnloom in VS Code: puts the parts together and names the commands. */

import * as path from "node:path";

import * as vscode from "vscode";

import { Chats } from "./chat/chats.js";
import { Texts } from "./chat/diff.js";
import type { ChatPanel } from "./chat/panel.js";
import { Plans } from "./chat/plans.js";
import { ATTACH, Link, Trouble, report, url as addressOfSettings } from "./link.js";
import { ThreadList, titleOf, type Entry } from "./threads.js";

export function activate(context: vscode.ExtensionContext): void {
  const output = vscode.window.createOutputChannel("Turnloom", { log: true });
  const link = new Link(context, output);
  const threads = new ThreadList(link);
  const chats = new Chats(link, vscode.Uri.joinPath(context.extensionUri, "dist"), new Plans(context.workspaceState));
  const view = vscode.window.createTreeView("turnloom.threads", { treeDataProvider: threads, showCollapseAll: false });

  threads.onMessage((text) => (view.message = text));

  const commands: Record<string, (...args: never[]) => unknown> = {
    "turnloom.newThread": async () => chats.openNew(await folder()),
    "turnloom.openThread": (threadId: string) => chats.openThread(threadId),
    "turnloom.secondWindow": (entry?: Entry) => withThread(entry, (id) => chats.openSecond(id)),
    "turnloom.moreThreads": () => threads.more(),
    "turnloom.refreshThreads": () => threads.refresh(),
    "turnloom.searchThreads": async () => {
      const term = await vscode.window.showInputBox({ title: "Search threads", prompt: "Part of a name, or of anything that was said; empty shows all" });
      if (term === undefined) return;
      threads.find(term.trim());
    },
    "turnloom.renameThread": (entry?: Entry) =>
      withThread(entry, async (threadId, name) => {
        const chosen = await vscode.window.showInputBox({ title: "Rename thread", value: name });
        if (chosen) await (await link.connected()).request("thread/name/set", { threadId, name: chosen });
      }),
    "turnloom.archiveThread": (entry?: Entry) =>
      withThread(entry, async (threadId, name) => {
        const client = await link.connected();
        await client.request("thread/archive", { threadId });
        const chosen = await vscode.window.showInformationMessage(`“${name}” is archived.`, "Undo");
        if (chosen === "Undo") await client.request("thread/unarchive", { threadId });
      }),
    "turnloom.forkThread": (entry?: Entry) =>
      withThread(entry, async (threadId) => {
        const { thread } = await (await link.connected()).request("thread/fork", { threadId });
        threads.refresh();
        await chats.openThread(thread.id);
      }),
    "turnloom.attachFile": () => attach(false),
    "turnloom.attachSelection": () => attach(true),
    "turnloom.attach": () => attachToDaemon(link),
    "turnloom.setToken": async () => {
      if (addressOfSettings() === "") throw new Trouble("a server of this window's own needs no token", [ATTACH]);
      if (await askForToken(link, addressOfSettings())) link.restart();
    },
    "turnloom.restart": () => link.restart(),
    "turnloom.switchMode": () => current().switchMode(),
    "turnloom.showTrace": async () => {
      output.show(true);
      if (output.logLevel === vscode.LogLevel.Trace) return;
      const text = "At its log level Trace, the output channel “Turnloom” shows every message of the wire.";
      const chosen = await vscode.window.showInformationMessage(text, "Set Log Level");
      if (chosen !== undefined) await vscode.commands.executeCommand("workbench.action.setLogLevel");
    },
  };

  async function withThread(entry: Entry | undefined, act: (threadId: string, name: string) => unknown): Promise<void> {
    if (entry?.kind === "thread") await act(entry.thread.id, titleOf(entry.thread));
    else await act(current().threadId, current().panel.title);
  }

  function current(): ChatPanel {
    if (chats.current === undefined) throw new Trouble("open a thread first", [NEW_THREAD]);
    return chats.current;
  }

  async function attach(isSelection: boolean): Promise<void> {
    const editor = vscode.window.activeTextEditor ?? vscode.window.visibleTextEditors[0];
    if (editor === undefined) throw new Error("open a file first");
    const { document, selection } = editor;
    const file = document.uri.fsPath;
    const name = path.basename(file);
    const chat = chats.current ?? (await chats.openNew(await folder()));
    if (!isSelection) chat.attach({ path: file, label: name });
    else {
      const lines = `${selection.start.line + 1}-${selection.end.line + 1}`;
      chat.attach({ path: file, label: `${name}:${lines}`, text: document.getText(selection.isEmpty ? undefined : selection) });
    }
    chat.reveal();
  }

  context.subscriptions.push(output, link, view, Texts.register());
  for (const [name, command] of Object.entries(commands)) {
    const run = async (...args: never[]) => {
      try {
        return await command(...args);
      } catch (error) {
        // Who has changed his mind needs no message.
        if (!(error instanceof vscode.CancellationError)) void report(error as Error);
        return undefined;
      }
    };
    context.subscriptions.push(vscode.commands.registerCommand(name, run));
  }
  context.subscriptions.push(
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration("turnloom.url") || event.affectsConfiguration("turnloom.command")) {
        void vscode.commands.executeCommand("turnloom.restart");
      }
    }),
    vscode.window.registerWebviewPanelSerializer("turnloom.chat", {
      deserializeWebviewPanel: async (panel, state) => chats.restore(panel, state),
    }),
    vscode.window.registerUriHandler({
      handleUri: (uri) => void vscode.commands.executeCommand("turnloom.openThread", uri.path.split("/").at(-1)),
    }),
  );
}

const NEW_THREAD = { label: "New Thread", command: "turnloom.newThread" };
const OPEN_FOLDER = { label: "Open Folder", command: "vscode.openFolder" };

/** The folder for a new thread; the user chooses where several are open. */
async function folder(): Promise<string> {
  const open = vscode.workspace.workspaceFolders ?? [];
  if (open.length === 0) throw new Trouble("open a folder first: a thread works in one", [OPEN_FOLDER]);
  const chosen = open.length === 1 ? open[0] : await vscode.window.showWorkspaceFolderPick({ placeHolder: "Where shall the thread work?" });
  if (chosen === undefined) throw new vscode.CancellationError();
  return chosen.uri.fsPath;
}

async function attachToDaemon(link: Link): Promise<void> {
  const settings = vscode.workspace.getConfiguration("turnloom");
  const url = await vscode.window.showInputBox({
    title: "Attach to a running daemon",
    prompt: "ws://HOST:PORT, wss://HOST:PORT or unix:///PATH; empty starts a server of this window's own",
    value: settings.get<string>("url", ""),
    validateInput: (text) => (text === "" || /^(wss?|unix):\/\/./.test(text) ? undefined : "ws://…, wss://… or unix://…"),
  });
  if (url === undefined) return;
  const address = url.trim();
  if (address !== "" && !address.startsWith("unix:") && !(await askForToken(link, address))) return;
  // A changed address reconnects by itself; with the same one it is the token that may be new.
  if (address === addressOfSettings()) return link.restart();
  const { Global, Workspace } = vscode.ConfigurationTarget;
  await settings.update("url", address, vscode.workspace.workspaceFolders === undefined ? Global : Workspace);
}

/** Whether the user has given one, or said that there is none. */
async function askForToken(link: Link, address: string): Promise<boolean> {
  const token = await vscode.window.showInputBox({
    title: `Token of ${address}`,
    prompt: "Kept in the editor's secret storage; empty if the server asks for none",
    password: true,
  });
  if (token !== undefined) await link.setToken(address, token.trim());
  return token !== undefined;
}
