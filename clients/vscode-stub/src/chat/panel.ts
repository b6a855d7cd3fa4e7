/** One open thread in an editor tab: feeds its page, and does what the page asks for. */

import * as path from "node:path";

import * as vscode from "vscode";

import type { Client } from "../client/client.js";
import type { ServerNotification } from "../protocol/index.js";
import type { Thread, ThreadResumeResponse, ThreadStartResponse, UserInput } from "../protocol/v2/index.js";
import { titleOf } from "../threads.js";
import type { Surroundings } from "./conversation.js";
import type { Attachment, FromPage, ToPage } from "./messages.js";
import { showDiff } from "./diff.js";
import { pickModel, pickPermissions } from "./pickers.js";
import type { Answer, Question } from "./questions.js";
import { pageOf } from "./page.js";

/** How a chat follows its thread: the newest turns; older ones come when they are asked for. */
export const NEWEST_TURNS = {
  excludeTurns: true,
  initialTurnsPage: { limit: 20, sortDirection: "desc", itemsView: "full" },
} as const;
const OLDER_TURNS = 20;
const FOUND_FILES = 12;

interface Asked {
  question: Question;
  answer(answer: Answer): void;
}

export class ChatPanel implements vscode.Disposable {
  private readonly ends: (() => void)[] = [];
  private readonly asked = new Map<string | number, Asked>();
  private readonly ready: Promise<void>;
  private thread: Thread;
  private surroundings: Surroundings;
  private runningTurn: string | undefined;
  private olderCursor: string | null = null;
  private readonly isClosed = new vscode.EventEmitter<void>();
  readonly onClosed = this.isClosed.event;

  constructor(
    readonly panel: vscode.WebviewPanel,
    readonly client: Client,
    opened: ThreadResumeResponse | ThreadStartResponse,
    media: vscode.Uri,
  ) {
    this.thread = opened.thread;
    this.surroundings = surroundingsOf(opened);
    this.take(opened);
    let isReady!: () => void;
    this.ready = new Promise((resolve) => (isReady = resolve));
    panel.webview.onDidReceiveMessage((message: FromPage) => {
      if (message.kind === "ready") {
        isReady();
        this.showAll();
      } else void this.handle(message);
    });
    panel.onDidDispose(() => this.dispose());
    this.ends.push(client.onAny((event) => this.noticed(event)));
    this.ends.push(
      client.onState((state) => {
        const text = state.kind === "connected" ? null : "reason" in state ? `No connection: ${state.reason}` : "Connecting…";
        this.post({ kind: "connection", text });
      }),
    );
    panel.webview.html = pageOf(panel.webview, media);
    this.title();
  }

  get threadId(): string {
    return this.thread.id;
  }

  /** The server tells the thread's whole state anew, after the connection was lost. */
  resumed(opened: ThreadResumeResponse): void {
    this.take(opened);
    this.showAll();
  }

  /** The server that is connected now does not have the thread. */
  gone(error: Error): void {
    this.post({ kind: "connection", text: `The server does not have this thread: ${error.message}` });
  }

  /** Shows a question; resolves with the user's answer, rejects when `signal` says that nobody needs it any more. */
  ask(question: Question, signal: AbortSignal): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.asked.set(question.id, { question, answer: resolve });
      this.post({ kind: "ask", question });
      signal.addEventListener("abort", () => {
        this.settle(question.id, "The question was answered elsewhere.");
        reject(signal.reason as Error);
      });
    });
  }

  /** Removes a question that was answered, here by a notification's button or elsewhere. */
  settle(id: string | number, note = ""): void {
    this.asked.delete(id);
    this.post({ kind: "answered", id, note });
  }

  attach(attachment: Attachment): void {
    this.post({ kind: "attach", attachment });
  }

  reveal(): void {
    this.panel.reveal();
  }

  dispose(): void {
    for (const end of this.ends.splice(0)) end();
    this.isClosed.fire();
  }

  private take(opened: ThreadResumeResponse | ThreadStartResponse): void {
    const page = "initialTurnsPage" in opened ? opened.initialTurnsPage : null;
    const turns = page === null ? opened.thread.turns : page.data.toReversed();
    this.thread = { ...opened.thread, turns };
    this.olderCursor = page?.nextCursor ?? null;
    this.surroundings = { ...surroundingsOf(opened), usage: this.surroundings.usage };
    const last = turns.at(-1);
    this.runningTurn = last?.status === "inProgress" ? last.id : undefined;
  }

  private showAll(): void {
    this.post({ kind: "opened", thread: this.thread, surroundings: this.surroundings, hasOlder: this.olderCursor !== null });
    for (const { question } of this.asked.values()) this.post({ kind: "ask", question });
  }

  private post(message: ToPage): void {
    void this.ready.then(() => this.panel.webview.postMessage(message));
  }

  private noticed(event: ServerNotification): void {
    if (!("threadId" in event.params) || event.params.threadId !== this.threadId) return;
    if (event.method === "turn/started") this.runningTurn = event.params.turn.id;
    if (event.method === "turn/completed") this.runningTurn = undefined;
    if (event.method === "thread/name/updated") {
      this.thread.name = event.params.threadName;
      this.title();
    }
    this.post({ kind: "event", event });
  }

  private title(): void {
    this.panel.title = titleOf(this.thread).slice(0, 40);
  }

  private async handle(message: FromPage): Promise<void> {
    try {
      switch (message.kind) {
        case "send":
          return await this.send(message.text, message.attachments, message.mentions);
        case "stop":
          if (this.runningTurn !== undefined) {
            await this.client.request("turn/interrupt", { threadId: this.threadId, turnId: this.runningTurn });
          }
          return;
        case "older":
          return await this.older();
        case "answer":
          this.asked.get(message.id)?.answer(message.answer);
          return this.settle(message.id);
        case "findFiles":
          return await this.findFiles(message.query);
        case "openFile":
          return await this.openFile(message.path);
        case "openDiff":
          return await showDiff(this.client, this.threadId, message);
        case "command":
          return await this.command(message.command);
        case "ready":
          return;
      }
    } catch (error) {
      void vscode.window.showErrorMessage(`Turnloom: ${(error as Error).message}`);
    }
  }

  private async send(text: string, attachments: Attachment[], mentions: string[]): Promise<void> {
    const input = this.inputOf(text, attachments, mentions);
    try {
      if (this.runningTurn !== undefined) {
        await this.client.request("turn/steer", { threadId: this.threadId, expectedTurnId: this.runningTurn, input });
      } else await this.client.request("turn/start", { threadId: this.threadId, input });
      if (this.thread.preview === "") {
        this.thread.preview = text;
        this.title();
      }
    } catch (error) {
      // The turn has ended in the very moment: what was meant for it begins the next.
      if ((error as Error).message.includes("no active turn to steer")) {
        this.runningTurn = undefined;
        return this.send(text, attachments, mentions);
      }
      this.post({ kind: "refused", text, reason: (error as Error).message });
    }
  }

  private inputOf(text: string, attachments: Attachment[], mentions: string[]): UserInput[] {
    const absolute = (file: string) => (path.isAbsolute(file) ? file : path.join(this.thread.cwd, file));
    const said = attachments.flatMap((attachment) =>
      attachment.text === undefined ? [] : [`From ${attachment.label}:\n\`\`\`\n${attachment.text}\n\`\`\``],
    );
    const files = [...mentions, ...attachments.filter((each) => each.text === undefined).map((each) => each.path)];
    return [
      { type: "text", text: [text, ...said].filter((part) => part !== "").join("\n\n"), text_elements: [] },
      ...files.map((file): UserInput => ({ type: "mention", name: path.basename(file), path: absolute(file) })),
    ];
  }

  private async older(): Promise<void> {
    const page = await this.client.request("thread/turns/list", {
      threadId: this.threadId,
      cursor: this.olderCursor,
      limit: OLDER_TURNS,
      sortDirection: "desc",
      itemsView: "full",
    });
    this.olderCursor = page.nextCursor;
    this.post({ kind: "older", turns: page.data.reverse(), hasOlder: page.nextCursor !== null });
  }

  private async findFiles(query: string): Promise<void> {
    const found = await this.client.request("fuzzyFileSearch", {
      query,
      roots: [this.thread.cwd],
      // The newer of two searches with one token ends the older.
      cancellationToken: `mention-${this.threadId}`,
    });
    this.post({ kind: "files", query, paths: found.files.slice(0, FOUND_FILES).map((file) => file.path) });
  }

  private async openFile(target: string): Promise<void> {
    const [, file = target, line] = /^(.*?)(?:[:#]L?(\d+))?$/.exec(target.replace(/^file:\/\//, "")) ?? [];
    const uri = vscode.Uri.file(path.isAbsolute(file) ? file : path.join(this.thread.cwd, file));
    const at = Math.max(0, Number(line ?? 1) - 1);
    await vscode.window.showTextDocument(uri, { selection: new vscode.Range(at, 0, at, 0), viewColumn: vscode.ViewColumn.Beside });
  }

  private async command(command: Extract<FromPage, { kind: "command" }>["command"]): Promise<void> {
    if (command === "pickModel") await pickModel(this.client, this.threadId);
    else if (command === "pickPermissions") await pickPermissions(this.client, this.threadId, this.thread.cwd);
    else await vscode.commands.executeCommand(command === "attachFile" ? "turnloom.attachFile" : "turnloom.attachSelection");
  }
}

function surroundingsOf(opened: ThreadResumeResponse | ThreadStartResponse): Surroundings {
  return {
    name: opened.thread.name,
    model: opened.model,
    cwd: opened.cwd,
    permissions: opened.activePermissionProfile?.id ?? opened.sandbox.type,
    usage: null,
    warning: null,
  };
}
