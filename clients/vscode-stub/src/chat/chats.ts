/** The open chats of this window, and the questions that the server asks about their threads. */

import * as vscode from "vscode";

import type { Client, Follower } from "../client/client.js";
import type { ServerMethod, ServerRequestHandler } from "../client/peer.js";
import { report, type Link } from "../link.js";
import { askForServer } from "./elicitation.js";
import { waitingPage } from "./page.js";
import { ChatPanel, NEWEST_TURNS } from "./panel.js";
import type { Plans } from "./plans.js";
import { askAboutCommand, askAboutFiles, askAboutPermissions, askTheUser, type Answer, type Asked, type Question } from "./questions.js";

/** A question that nobody has answered yet; `take` adds a way in which it may be. */
interface Pending {
  client: Client;
  question: Question;
  signal: AbortSignal;
  take(way: Promise<Answer>): void;
}

export class Chats {
  private readonly open = new Set<ChatPanel>();
  private active: ChatPanel | undefined;
  private readonly pending = new Set<Pending>();

  constructor(
    private readonly link: Link,
    private readonly media: vscode.Uri,
    private readonly plans: Plans,
  ) {
    link.onClient((client) => this.listen(client));
  }

  /** The chat that the user looks at, or looked at last. */
  get current(): ChatPanel | undefined {
    return this.active;
  }

  async openNew(cwd: string): Promise<ChatPanel> {
    const client = await this.link.connected();
    const started = await client.request("thread/start", { cwd });
    const chat = this.add(client, started);
    client.keep(started.thread.id, this.follower(client, started.thread.id), NEWEST_TURNS);
    return chat;
  }

  async openThread(threadId: string): Promise<ChatPanel> {
    const known = [...this.open].find((chat) => chat.threadId === threadId);
    if (known !== undefined) {
      known.reveal();
      return known;
    }
    return this.follow(await this.link.connected(), threadId);
  }

  /** Another view of the thread; over a connection of its own where the server takes more than one. */
  async openSecond(threadId: string): Promise<ChatPanel> {
    const first = await this.link.connected();
    if (!this.link.isShared) return this.follow(first, threadId);
    const client = this.link.another();
    this.listen(client);
    try {
      await client.start();
      const chat = await this.follow(client, threadId);
      chat.onClosed(() => this.link.letGo(client));
      return chat;
    } catch (error) {
      this.link.letGo(client);
      throw error;
    }
  }

  /** A tab of before the editor was closed, with the thread that its page remembers; it waits for a server that has it. */
  restore(panel: vscode.WebviewPanel, state: unknown): void {
    const threadId = (state as { threadId?: unknown } | undefined)?.threadId;
    if (typeof threadId !== "string") return panel.dispose();
    const ends: vscode.Disposable[] = [];
    let isTrying = false;
    const attempt = async () => {
      if (isTrying) return;
      isTrying = true;
      try {
        const client = await this.link.connected();
        if (ends.length > 0) await this.follow(client, threadId, panel);
        for (const end of ends.splice(0)) end.dispose();
      } catch (error) {
        if (ends.length > 0) panel.webview.html = waitingPage(panel.webview, this.media, (error as Error).message);
      } finally {
        isTrying = false;
      }
    };
    // A server that is there later, or another one, may have the thread.
    ends.push(this.link.onState((told) => void (told.kind === "connected" && attempt())));
    ends.push(panel.onDidDispose(() => ends.splice(0).forEach((end) => end.dispose())));
    panel.webview.options = { enableCommandUris: ["turnloom.attach", "turnloom.restart"], localResourceRoots: [this.media] };
    panel.webview.html = waitingPage(panel.webview, this.media, "Connecting…");
    void attempt();
  }

  private async follow(client: Client, threadId: string, panel?: vscode.WebviewPanel): Promise<ChatPanel> {
    const opened = await client.follow(threadId, this.follower(client, threadId), NEWEST_TURNS);
    return this.add(client, opened, panel);
  }

  private follower(client: Client, threadId: string): Follower {
    const chats = () => [...this.open].filter((chat) => chat.client === client && chat.threadId === threadId);
    return {
      resumed: (thread) => chats().forEach((chat) => chat.resumed(thread)),
      gone: (error) => chats().forEach((chat) => chat.gone(error)),
    };
  }

  private add(client: Client, opened: ConstructorParameters<typeof ChatPanel>[2], restored?: vscode.WebviewPanel): ChatPanel {
    const panel = restored ?? newPanel();
    panel.webview.options = { enableScripts: true, localResourceRoots: [this.media] };
    panel.iconPath = { light: vscode.Uri.joinPath(this.media, "light.svg"), dark: vscode.Uri.joinPath(this.media, "dark.svg") };
    const chat = new ChatPanel(panel, client, opened, this.media, this.plans);
    this.open.add(chat);
    this.active = chat;
    for (const pending of this.pending) {
      if (concerns(pending, chat)) pending.take(chat.ask(pending.question, pending.signal));
    }
    panel.onDidChangeViewState(() => {
      if (panel.active) this.active = chat;
    });
    chat.onClosed(() => {
      this.open.delete(chat);
      if (this.active === chat) this.active = [...this.open].at(-1);
      const isLast = ![...this.open].some((other) => other.client === client && other.threadId === chat.threadId);
      if (isLast) void client.unfollow(chat.threadId).catch(() => {});
    });
    return chat;
  }

  private listen(client: Client): void {
    client.on("turn/plan/updated", ({ threadId, turnId, plan, explanation }) => {
      this.plans.keep(threadId, turnId, { steps: plan, explanation });
    });
    const handle = <M extends ServerMethod>(
      method: M,
      form: (id: string | number, params: never) => Asked<unknown>,
    ) => {
      const handler = async (params: unknown, asked: { id: string | number; signal: AbortSignal }) => {
        const { question, respond, opens } = form(asked.id, params as never);
        const answer = await this.ask(client, question, asked.signal);
        if (opens !== undefined && "choice" in answer && answer.choice === opens.choice) {
          await vscode.env.openExternal(vscode.Uri.parse(opens.address, true));
        }
        return respond(answer);
      };
      client.handle(method, handler as unknown as ServerRequestHandler<M>);
    };
    handle("item/commandExecution/requestApproval", askAboutCommand);
    handle("item/fileChange/requestApproval", askAboutFiles);
    handle("item/permissions/requestApproval", askAboutPermissions);
    handle("item/tool/requestUserInput", askTheUser);
    handle("mcpServer/elicitation/request", askForServer);
  }

  /**
   * Asks in every chat of the thread, also in those that are opened while the question is open, and by a notification
   * where none is in sight. The first answer counts.
   */
  private async ask(client: Client, question: Question, signal: AbortSignal): Promise<Answer> {
    let pending!: Pending;
    const answered = new Promise<Answer>((resolve, reject) => {
      pending = { client, question, signal, take: (way) => void way.then(resolve, reject) };
    });
    this.pending.add(pending);
    const concerned = () => [...this.open].filter((chat) => concerns(pending, chat));
    for (const chat of concerned()) pending.take(chat.ask(question, signal));
    if (!concerned().some((chat) => chat.panel.visible)) pending.take(this.notify(question, signal));
    try {
      return await answered;
    } finally {
      this.pending.delete(pending);
      for (const chat of concerned()) chat.settle(question.id);
    }
  }

  private async notify(question: Question, signal: AbortSignal): Promise<Answer> {
    // What has to be filled in is filled in in the chat.
    const choices = question.fields.length > 0 ? [] : question.choices;
    const labels = choices.map(({ label, detail }) => (detail === undefined ? label : `${label} ${detail}`));
    const asked = question.fields.map((field) => field.question || field.header)[0];
    const about = [question.title, question.subject, question.reason, asked].filter((part) => part).join(" — ");
    const chosen = await vscode.window.showWarningMessage(`Turnloom: ${about.slice(0, 300)}`, ...labels, "Open");
    const choice = labels.indexOf(chosen ?? "");
    if (choice >= 0 && signal.aborted) void vscode.window.showInformationMessage("Turnloom: this question was answered already.");
    if (choice >= 0) return { choice };
    if (chosen === "Open") await this.openThread(question.threadId).then((chat) => chat.reveal(), report);
    // To close a notification is no answer: the chat, another window or another client still has the question.
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
  }
}

function newPanel(): vscode.WebviewPanel {
  return vscode.window.createWebviewPanel("turnloom.chat", "Turnloom", vscode.ViewColumn.Active, { retainContextWhenHidden: true });
}

function concerns(pending: Pending, chat: ChatPanel): boolean {
  return chat.client === pending.client && chat.threadId === pending.question.threadId;
}
