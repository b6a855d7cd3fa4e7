/** The list of threads: newest first, page by page, with what each is doing now. */

import * as vscode from "vscode";

import type { Client } from "./client/client.js";
import type { Thread, ThreadStatus } from "./protocol/v2/index.js";
import { Trouble, told, type Link } from "./link.js";

const PAGE = 30;

/** A thread, or the line below them that fetches more. */
export type Entry = { kind: "thread"; thread: Thread } | { kind: "more" };

interface Page {
  threads: Thread[];
  cursor: string | null;
}

export class ThreadList implements vscode.TreeDataProvider<Entry> {
  private readonly changed = new vscode.EventEmitter<Entry | undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  private threads: Thread[] = [];
  private cursor: string | null = null;
  private search = "";
  /** Where the text that is looked for stands, by thread. */
  private snippets = new Map<string, string>();
  private isLoaded = false;
  private loading: Promise<void> | undefined;
  private loads = 0;
  private readonly told = new vscode.EventEmitter<string>();
  /** What there is to say above the list; empty if nothing. */
  readonly onMessage = this.told.event;

  constructor(private readonly link: Link) {
    link.onClient((client) => this.listen(client));
  }

  async getChildren(parent?: Entry): Promise<Entry[]> {
    if (parent !== undefined) return [];
    if (!this.isLoaded) this.loading = this.load(null);
    await this.loading;
    const entries: Entry[] = this.threads.map((thread) => ({ kind: "thread", thread }));
    return this.cursor === null ? entries : [...entries, { kind: "more" }];
  }

  getTreeItem(entry: Entry): vscode.TreeItem {
    if (entry.kind === "more") {
      const more = new vscode.TreeItem("Show more threads");
      more.command = { command: "turnloom.moreThreads", title: "Show more threads" };
      more.iconPath = new vscode.ThemeIcon("ellipsis");
      return more;
    }
    const { thread } = entry;
    const item = new vscode.TreeItem(titleOf(thread));
    const [icon, doing] = look(thread.status);
    item.id = thread.id;
    item.contextValue = "thread";
    item.iconPath = icon;
    const snippet = this.snippets.get(thread.id) ?? "";
    item.description = [doing, ago(thread.updatedAt), snippet].filter((part) => part !== "").join(" · ");
    item.tooltip = `${thread.preview.slice(0, 500)}\n${thread.cwd}`;
    item.accessibilityInformation = { label: `${titleOf(thread)}, ${item.description}` };
    item.command = { command: "turnloom.openThread", title: "Open", arguments: [thread.id] };
    return item;
  }

  async more(): Promise<void> {
    if (this.cursor !== null) await this.load(this.cursor);
    this.changed.fire(undefined);
  }

  /** Shows only threads in whose name or text `term` stands; an empty one shows all. */
  find(term: string): void {
    this.search = term;
    this.snippets.clear();
    this.refresh();
  }

  refresh(): void {
    this.isLoaded = false;
    this.changed.fire(undefined);
  }

  private async load(cursor: string | null): Promise<void> {
    this.isLoaded = true;
    const load = ++this.loads;
    try {
      const client = await this.link.connected();
      const page = this.search === "" ? await this.list(client, cursor) : await this.found(client, cursor);
      // Another one was begun meanwhile, perhaps for something else.
      if (load !== this.loads) return;
      const before = cursor === null ? [] : this.threads;
      const known = new Set(before.map((thread) => thread.id));
      this.threads = [...before, ...page.threads.filter((thread) => !known.has(thread.id))];
      this.cursor = page.cursor;
      this.told.fire(this.search === "" ? "" : `Threads with “${this.search}”${this.threads.length > 0 ? "" : ": none"}`);
    } catch (error) {
      if (load !== this.loads) return;
      // The list is read again when there is a connection; that there is none the empty view says itself.
      this.isLoaded = false;
      if (cursor === null) this.threads = [];
      this.cursor = null;
      this.told.fire(error instanceof Trouble ? "" : `The threads cannot be listed: ${told(error as Error)}`);
    }
  }

  private async list(client: Client, cursor: string | null, searchTerm: string | null = null): Promise<Page> {
    const page = await client.request("thread/list", { limit: PAGE, cursor, sortKey: "updated_at", searchTerm });
    return { threads: page.data, cursor: page.nextCursor };
  }

  /** First those that are called so, then page by page those in which it was said. */
  private async found(client: Client, cursor: string | null): Promise<Page> {
    const term = this.search;
    const named = cursor === null ? (await this.list(client, null, term)).threads : [];
    const page = await client.request("thread/search", { searchTerm: term, limit: PAGE, cursor });
    if (cursor === null) this.snippets.clear();
    for (const { thread, snippet } of page.data) this.snippets.set(thread.id, snippet);
    const ids = new Set(named.map((thread) => thread.id));
    const said = page.data.map((result) => result.thread).filter((thread) => !ids.has(thread.id));
    return { threads: [...named, ...said], cursor: page.nextCursor };
  }

  private listen(client: Client): void {
    client.onState((state) => {
      // After a loss the list stays until there is a connection; who has closed one goes to another server.
      if (state.kind === "connected" || state.kind === "closed") this.refresh();
    });
    client.on("thread/started", ({ thread }) => {
      if (thread.ephemeral || this.search !== "") return;
      this.threads = [thread, ...this.threads.filter((known) => known.id !== thread.id)];
      this.changed.fire(undefined);
    });
    client.on("thread/name/updated", ({ threadId, threadName }) => this.edit(threadId, (t) => void (t.name = threadName)));
    client.on("thread/status/changed", ({ threadId, status }) => this.edit(threadId, (t) => void (t.status = status)));
    client.on("thread/archived", ({ threadId }) => this.drop(threadId));
    client.on("thread/deleted", ({ threadId }) => this.drop(threadId));
    client.on("thread/unarchived", () => this.refresh());
    client.on("turn/completed", ({ threadId }) => this.edit(threadId, (t) => void (t.updatedAt = Date.now() / 1000)));
  }

  private edit(threadId: string, edit: (thread: Thread) => void): void {
    const thread = this.threads.find((known) => known.id === threadId);
    if (thread === undefined) return;
    edit(thread);
    this.changed.fire(undefined);
  }

  private drop(threadId: string): void {
    this.threads = this.threads.filter((known) => known.id !== threadId);
    this.changed.fire(undefined);
  }
}

export function titleOf(thread: Pick<Thread, "name" | "preview">): string {
  return thread.name ?? (thread.preview.split("\n", 1)[0]?.slice(0, 80) || "New thread");
}

function look(status: ThreadStatus): [vscode.ThemeIcon, string] {
  switch (status.type) {
    case "active": {
      const asks = status.activeFlags.length > 0;
      return [new vscode.ThemeIcon(asks ? "question" : "sync~spin"), asks ? "asks you" : "running"];
    }
    case "systemError":
      return [new vscode.ThemeIcon("error"), "error"];
    default:
      return [new vscode.ThemeIcon("comment-discussion"), ""];
  }
}

function ago(seconds: number): string {
  const minutes = Math.max(0, Math.round((Date.now() / 1000 - seconds) / 60));
  if (minutes < 1) return "now";
  if (minutes < 60) return `${minutes} min`;
  return minutes < 48 * 60 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} d`;
}
