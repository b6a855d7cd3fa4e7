/** Turnloom in VS Code: puts the parts together and names the commands. */

import * as path from "node:path";

import * as vscode from "vscode";

import { Chats } from "./chat/chats.js";
import { Texts } from "./chat/diff.js";
import { Link } from "./link.js";
import { ThreadList, titleOf, type Entry } from "./threads.js";

export function activate(context: vscode.ExtensionContext): void {
  const output = vscode.window.createOutputChannel("Turnloom", { log: true });
  const link = new Link(context, output);
  const threads = new ThreadList(link);
  const chats = new Chats(link, vscode.Uri.joinPath(context.extensionUri, "dist"));
  const view = vscode.window.createTreeView("turnloom.threads", { treeDataProvider: threads, showCollapseAll: false });

  const commands: Record<string, (...args: never[]) => unknown> = {
    "turnloom.newThread": () => chats.openNew(folder()),
    "turnloom.openThread": (threadId: string) => chats.openThread(threadId),
    "turnloom.secondWindow": (entry?: Entry) => withThread(entry, (id) => chats.openSecond(id)),
    "turnloom.moreThreads": () => threads.more(),
    "turnloom.refreshThreads": () => threads.refresh(),
    "turnloom.searchThreads": async () => {
      const term = await vscode.window.showInputBox({ title: "Search threads", prompt: "Part of a name, or of anything that was said; empty shows all" });
      if (term === undefined) return;
      threads.find(term.trim());
      view.message = term.trim() === "" ? "" : `Threads with “${term.trim()}”`;
    },
    "turnloom.renameThread": (entry?: Entry) =>
      withThread(entry, async (threadId, name) => {
        const chosen = await vscode.window.showInputBox({ title: "Rename thread", value: name });
        if (chosen) await link.current.request("thread/name/set", { threadId, name: chosen });
      }),
    "turnloom.archiveThread": (entry?: Entry) =>
      withThread(entry, async (threadId, name) => {
        await link.current.request("thread/archive", { threadId });
        const chosen = await vscode.window.showInformationMessage(`“${name}” is archived.`, "Undo");
        if (chosen === "Undo") await link.current.request("thread/unarchive", { threadId });
      }),
    "turnloom.forkThread": (entry?: Entry) =>
      withThread(entry, async (threadId) => {
        const { thread } = await link.current.request("thread/fork", { threadId });
        threads.refresh();
        await chats.openThread(thread.id);
      }),
    "turnloom.attachFile": () => attach(false),
    "turnloom.attachSelection": () => attach(true),
    "turnloom.attach": () => attachToDaemon(link),
    "turnloom.setToken": () => askForToken(link),
    "turnloom.restart": () => link.restart(),
    "turnloom.showTrace": () => {
      output.show();
      void vscode.window.showInformationMessage("Set the log level of the output channel “Turnloom” to Trace to see every message.");
    },
  };

  async function withThread(entry: Entry | undefined, act: (threadId: string, name: string) => unknown): Promise<void> {
    if (entry?.kind === "thread") await act(entry.thread.id, titleOf(entry.thread));
    else if (chats.current !== undefined) await act(chats.current.threadId, chats.current.panel.title);
    else throw new Error("open a thread first");
  }

  async function attach(isSelection: boolean): Promise<void> {
    const editor = vscode.window.activeTextEditor ?? vscode.window.visibleTextEditors[0];
    if (editor === undefined) throw new Error("open a file first");
    const { document, selection } = editor;
    const file = document.uri.fsPath;
    const name = path.basename(file);
    const chat = chats.current ?? (await chats.openNew(folder()));
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
        void vscode.window.showErrorMessage(`Turnloom: ${(error as Error).message}`);
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
      deserializeWebviewPanel: (panel, state) => chats.restore(panel, state),
    }),
    vscode.window.registerUriHandler({
      handleUri: (uri) => void vscode.commands.executeCommand("turnloom.openThread", uri.path.split("/").at(-1)),
    }),
  );
}

function folder(): string {
  const open = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
  if (open === undefined) throw new Error("open a folder first: a thread works in one");
  return open;
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
  if (url !== "" && !url.startsWith("unix:")) await askForToken(link);
  // A changed address reconnects by itself; with the same one it is the token that may be new.
  if (url === settings.get<string>("url", "")) await link.restart();
  else await settings.update("url", url, vscode.ConfigurationTarget.Workspace);
}

async function askForToken(link: Link): Promise<void> {
  const token = await vscode.window.showInputBox({
    title: "Token of the server",
    prompt: "Kept in the editor's secret storage; empty if the server asks for none",
    password: true,
  });
  if (token !== undefined) await link.setToken(token.trim());
}
