/** One open thread in an editor tab: feeds its page, and does what the page asks for. */

import * as path from "node:path";

import * as vscode from "vscode";

import type { Client } from "../client/client.js";
import { ConnectionLost } from "../client/peer.js";
import type { ServerNotification } from "../protocol/index.js";
import type { ThreadResumeResponse, ThreadStartResponse, UserInput } from "../protocol/v2/index.js";
import { report, told } from "../link.js";
import { titleOf } from "../threads.js";
import { Conversation, settingsOf, viewOf } from "./conversation.js";
import { showDiff } from "./diff.js";
import type { Attachment, Command, FromPage, Message, ToPage } from "./messages.js";
import { IMPLEMENT, Modes } from "./modes.js";
import { pageOf } from "./page.js";
import { pickModel, pickPermissions } from "./pickers.js";
import type { Plans } from "./plans.js";
import type { Answer, Question } from "./questions.js";

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
  private readonly modes: Modes;
  /** What the page shows; it is told all of it whenever it is loaded, and events only between. */
  private conversation!: Conversation;
  private isPageReady = false;
  private readonly forPage: ToPage[] = [];
  private trouble: string | null = null;
  private preview = "";
  private olderCursor: string | null = null;
  private readonly isClosed = new vscode.EventEmitter<void>();
  readonly onClosed = this.isClosed.event;

  constructor(
    readonly panel: vscode.WebviewPanel,
    readonly client: Client,
    opened: ThreadResumeResponse | ThreadStartResponse,
    media: vscode.Uri,
    private readonly plans: Plans,
  ) {
    this.modes = new Modes(client);
    this.take(opened);
    panel.webview.onDidReceiveMessage((message: FromPage) => {
      if (message.kind === "ready") {
        this.isPageReady = true;
        this.showAll();
        for (const waiting of this.forPage.splice(0)) this.post(waiting);
      } else void this.handle(message);
    });
    panel.onDidDispose(() => this.dispose());
    this.ends.push(client.onAny((event) => this.noticed(event)));
    this.ends.push(
      client.onState((state) => {
        this.tellTrouble(state.kind === "connected" ? null : "reason" in state ? `No connection: ${state.reason}` : "Connecting…");
      }),
    );
    panel.webview.html = pageOf(panel.webview, media);
    this.title();
  }

  get threadId(): string {
    return this.conversation.threadId;
  }

  /** The server tells the thread's whole state anew, after the connection was lost. */
  resumed(opened: ThreadResumeResponse): void {
    this.take(opened);
    this.title();
    if (this.isPageReady) this.showAll();
  }

  /** The server that is connected now does not have the thread. */
  gone(error: Error): void {
    this.tellTrouble(`The server does not have this thread: ${told(error)}`);
  }

  /** Shows a question; resolves with the user's answer, rejects when `signal` says that nobody needs it any more. */
  ask(question: Question, signal: AbortSignal): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.asked.set(question.id, { question, answer: resolve });
      // A page that is not there yet is told of all open questions at once.
      if (this.isPageReady) this.post({ kind: "ask", question });
      signal.addEventListener("abort", () => {
        // After a lost connection it is asked again.
        const isLost = signal.reason instanceof ConnectionLost;
        this.settle(question.id, isLost ? "" : "The question was answered elsewhere, or is not asked any more.");
        reject(signal.reason as Error);
      });
    });
  }

  /** Removes a question that was answered, here by a notification's button or elsewhere. */
  settle(id: string | number, note = ""): void {
    if (this.asked.delete(id)) this.post({ kind: "answered", id, note });
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
    const page = ("initialTurnsPage" in opened && opened.initialTurnsPage) || null;
    const turns = page === null ? opened.thread.turns : page.data.toReversed();
    const plans = this.plans.of(opened.thread.id);
    const surroundings = {
      ...settingsOf({ ...opened, effort: opened.reasoningEffort, sandboxPolicy: opened.sandbox }),
      name: opened.thread.name,
      cwd: opened.cwd,
      usage: (this.conversation as Conversation | undefined)?.surroundings.usage ?? null,
      warning: null,
    };
    this.conversation = new Conversation(opened.thread.id, surroundings, turns.map((turn) => viewOf(turn, plans)));
    this.preview = opened.thread.preview;
    this.olderCursor = page?.nextCursor ?? null;
  }

  private showAll(): void {
    const { threadId, surroundings, turns } = this.conversation;
    this.post({ kind: "opened", threadId, surroundings, turns, hasOlder: this.olderCursor !== null });
    this.post({ kind: "connection", text: this.trouble });
    for (const { question } of this.asked.values()) this.post({ kind: "ask", question });
  }

  private post(message: ToPage): void {
    if (this.isPageReady) void this.panel.webview.postMessage(message);
    else this.forPage.push(message);
  }

  private tellTrouble(text: string | null): void {
    this.trouble = text;
    if (this.isPageReady) this.post({ kind: "connection", text });
  }

  private noticed(event: ServerNotification): void {
    const end = { "thread/archived": "This thread was archived.", "thread/deleted": "This thread was deleted.", "thread/unarchived": null };
    if (event.method in end && "threadId" in event.params && event.params.threadId === this.threadId) {
      return this.tellTrouble(end[event.method as keyof typeof end]);
    }
    if (this.conversation.apply(event) === undefined) return;
    if (event.method === "thread/name/updated") this.title();
    if (this.isPageReady) this.post({ kind: "event", event });
  }

  private title(): void {
    this.panel.title = titleOf({ name: this.conversation.surroundings.name, preview: this.preview }).slice(0, 40);
  }

  private async handle(message: FromPage): Promise<void> {
    try {
      switch (message.kind) {
        case "send":
          return await this.send(message.message);
        case "implement":
          return await this.implement();
        case "stop": {
          const turnId = this.conversation.running?.id;
          if (turnId !== undefined) await this.client.request("turn/interrupt", { threadId: this.threadId, turnId });
          return;
        }
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
      void report(error as Error);
    }
  }

  private async send(message: Message): Promise<void> {
    const { threadId } = this;
    const input = this.inputOf(message);
    const expectedTurnId = this.conversation.running?.id;
    try {
      if (expectedTurnId === undefined) await this.client.request("turn/start", { threadId, input });
      else await this.steer(expectedTurnId, input);
      if (this.preview === "") {
        this.preview = message.text;
        this.title();
      }
    } catch (error) {
      this.post({ kind: "refused", message, reason: told(error as Error) });
    }
  }

  private async steer(expectedTurnId: string, input: UserInput[]): Promise<void> {
    const { threadId } = this;
    try {
      await this.client.request("turn/steer", { threadId, expectedTurnId, input });
    } catch (error) {
      if (!(error as Error).message.includes("no active turn to steer")) throw error;
      // The turn has ended in the very moment: what was meant for it begins the next.
      await this.client.request("turn/start", { threadId, input });
    }
  }

  /** Plan mode on or off, for the turns to come. */
  async switchMode(): Promise<void> {
    const { surroundings } = this.conversation;
    const collaborationMode = await this.modes.to(surroundings.mode === "plan" ? "default" : "plan", surroundings);
    await this.client.request("thread/settings/update", { threadId: this.threadId, collaborationMode });
  }

  private async implement(): Promise<void> {
    // Somebody else may have said something meanwhile.
    if (this.conversation.proposal === undefined) return;
    const collaborationMode = await this.modes.to("default", this.conversation.surroundings);
    const input: UserInput[] = [{ type: "text", text: IMPLEMENT, text_elements: [] }];
    await this.client.request("turn/start", { threadId: this.threadId, input, collaborationMode });
  }

  private inputOf({ text, attachments, mentions }: Message): UserInput[] {
    const absolute = (file: string) => (path.isAbsolute(file) ? file : path.join(this.conversation.surroundings.cwd, file));
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
    const plans = this.plans.of(this.threadId);
    const turns = this.conversation.prepend(page.data.reverse().map((turn) => viewOf(turn, plans)));
    this.post({ kind: "older", turns, hasOlder: page.nextCursor !== null });
  }

  private async findFiles(query: string): Promise<void> {
    const found = await this.client.request("fuzzyFileSearch", {
      query,
      roots: [this.conversation.surroundings.cwd],
      // The newer of two searches with one token ends the older.
      cancellationToken: `mention-${this.threadId}`,
    });
    this.post({ kind: "files", query, paths: found.files.slice(0, FOUND_FILES).map((file) => file.path) });
  }

  private async openFile(target: string): Promise<void> {
    const [, file = target, line] = /^(.*?)(?:[:#]L?(\d+))?$/.exec(target.replace(/^file:\/\//, "")) ?? [];
    const uri = vscode.Uri.file(path.isAbsolute(file) ? file : path.join(this.conversation.surroundings.cwd, file));
    const at = Math.max(0, Number(line ?? 1) - 1);
    await vscode.window.showTextDocument(uri, { selection: new vscode.Range(at, 0, at, 0), viewColumn: vscode.ViewColumn.Beside });
  }

  private async command(command: Command): Promise<void> {
    if (command === "pickModel") await pickModel(this.client, this.threadId, this.conversation.surroundings);
    else if (command === "pickPermissions") await pickPermissions(this.client, this.threadId, this.conversation.surroundings);
    else if (command === "switchMode") await this.switchMode();
    else await vscode.commands.executeCommand(command === "attachFile" ? "turnloom.attachFile" : "turnloom.attachSelection");
  }
}
