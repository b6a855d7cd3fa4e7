/** Where the user writes: text, files that go along, mentions of files, and what the next turn runs with. */

import type { Surroundings } from "../chat/conversation.js";
import type { Attachment, Command, Message } from "../chat/messages.js";
import { byId, h } from "./dom.js";

interface Deeds {
  send(message: Message): void;
  /** The text that is not sent yet has changed. */
  changed(draft: string): void;
  stop(): void;
  findFiles(query: string): void;
  command(command: Command): void;
}

const APPROVALS = { "on-request": "asks when needed", untrusted: "asks about the unknown", never: "never asks" };

/** An `@` and what follows it, up to the caret. */
const MENTION = /(^|\s)@([^\s@]*)$/;

export class Composer {
  private readonly text = byId<HTMLTextAreaElement>("text");
  private readonly list = byId("completions");
  private readonly sendButton = byId<HTMLButtonElement>("send");
  private readonly stopButton = byId<HTMLButtonElement>("stop");
  private attachments: Attachment[] = [];
  private mentions = new Set<string>();
  private selected = 0;

  constructor(private readonly deeds: Deeds) {
    this.text.addEventListener("input", () => this.typed());
    this.text.addEventListener("keydown", (event) => this.key(event));
    this.sendButton.addEventListener("click", () => this.send());
    this.stopButton.addEventListener("click", () => this.deeds.stop());
    for (const button of document.querySelectorAll<HTMLElement>("[data-command]")) {
      button.addEventListener("click", () => this.deeds.command(button.dataset["command"] as Command));
    }
  }

  get draft(): string {
    return this.text.value;
  }

  focus(): void {
    this.text.focus();
  }

  restore(draft: string): void {
    this.text.value = draft;
  }

  show(now: Surroundings, isRunning: boolean): void {
    const model = [now.model, now.effort].filter((part) => part).join(" ") || "default";
    this.name("model", `Model: ${model}`, model);
    const asks = typeof now.approvals === "string" ? APPROVALS[now.approvals] : "asks as configured";
    const permissions = now.permissions || "default";
    this.name("permissions", `Permissions: ${permissions}, ${asks}`, now.approvals === "never" ? `${permissions}, ${asks}` : permissions);
    const isPlanning = now.mode === "plan";
    byId("mode").setAttribute("aria-pressed", String(isPlanning));
    this.stopButton.hidden = !isRunning;
    this.sendButton.textContent = isRunning ? "Steer" : "Send";
    const idle = isPlanning ? "Say what is to be planned; @ mentions a file" : "Ask for anything; @ mentions a file";
    this.text.placeholder = isRunning ? "Steer the running turn" : idle;
  }

  attach(attachment: Attachment): void {
    this.attachments.push(attachment);
    this.drawAttachments();
    this.text.focus();
  }

  /** Files for the mention that is being typed; they come too late if it has changed meanwhile. */
  offer(query: string, paths: string[]): void {
    if (this.mention() !== query) return;
    this.selected = 0;
    this.list.replaceChildren(
      ...paths.map((path, index) => h("li", { id: `file-${index}`, role: "option", onclick: () => this.take(path) }, path)),
    );
    this.setListOpen(paths.length > 0);
  }

  /** A message that was not accepted comes back, before what the user has written meanwhile. */
  giveBack({ text, attachments, mentions }: Message): void {
    this.text.value = [text, this.text.value].filter((part) => part !== "").join("\n");
    this.attachments.unshift(...attachments);
    for (const mention of mentions) this.mentions.add(mention);
    this.drawAttachments();
    this.deeds.changed(this.text.value);
  }

  private name(id: string, whole: string, short: string): void {
    byId(id).textContent = short;
    byId(id).setAttribute("aria-label", whole);
    byId(id).title = whole;
  }

  private typed(): void {
    this.deeds.changed(this.text.value);
    const query = this.mention();
    if (query === undefined) this.setListOpen(false);
    else this.deeds.findFiles(query);
  }

  private mention(): string | undefined {
    return MENTION.exec(this.text.value.slice(0, this.text.selectionStart))?.[2];
  }

  private take(path: string): void {
    const caret = this.text.selectionStart;
    const before = this.text.value.slice(0, caret).replace(MENTION, `$1@${path} `);
    this.text.value = before + this.text.value.slice(caret);
    this.text.setSelectionRange(before.length, before.length);
    this.mentions.add(path);
    this.setListOpen(false);
    this.text.focus();
  }

  private key(event: KeyboardEvent): void {
    const options = this.list.hidden ? [] : [...this.list.children];
    if (options.length > 0 && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const step = event.key === "ArrowDown" ? 1 : options.length - 1;
      this.selected = (this.selected + step) % options.length;
      this.markSelected();
    } else if (options.length > 0 && (event.key === "Enter" || event.key === "Tab")) {
      this.take(options[this.selected]?.textContent ?? "");
    } else if (options.length > 0 && event.key === "Escape") this.setListOpen(false);
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.send();
    else if (event.key === "Escape" && !this.stopButton.hidden) this.deeds.stop();
    else return;
    event.preventDefault();
  }

  private send(): void {
    const text = this.text.value.trim();
    if (text === "" && this.attachments.length === 0) return;
    const mentions = [...this.mentions].filter((path) => text.includes(`@${path}`));
    this.deeds.send({ text, attachments: this.attachments, mentions });
    this.text.value = "";
    this.deeds.changed("");
    this.attachments = [];
    this.mentions.clear();
    this.drawAttachments();
    this.setListOpen(false);
  }

  private drawAttachments(): void {
    const chips = this.attachments.map((attachment, index) => {
      const remove = () => {
        this.attachments.splice(index, 1);
        this.drawAttachments();
      };
      const label = `Remove ${attachment.label}`;
      return h("span", { class: "chip" }, attachment.label, h("button", { "aria-label": label, title: label, onclick: remove }, "×"));
    });
    byId("attachments").replaceChildren(...chips);
  }

  private setListOpen(isOpen: boolean): void {
    this.list.hidden = !isOpen;
    this.text.setAttribute("aria-expanded", String(isOpen));
    this.markSelected();
  }

  private markSelected(): void {
    for (const [index, option] of [...this.list.children].entries()) {
      option.setAttribute("aria-selected", String(index === this.selected));
    }
    if (this.list.hidden) this.text.removeAttribute("aria-activedescendant");
    else this.text.setAttribute("aria-activedescendant", `file-${this.selected}`);
  }
}
