/** Where the user writes: text, files that go along, mentions of files, and what the next turn runs with. */

import type { Attachment, FromPage } from "../chat/messages.js";
import { byId, h } from "./dom.js";

type Command = Extract<FromPage, { kind: "command" }>["command"];

interface Deeds {
  send(text: string, attachments: Attachment[], mentions: string[]): void;
  stop(): void;
  findFiles(query: string): void;
  command(command: Command): void;
}

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

  show(state: { model: string; permissions: string; isRunning: boolean }): void {
    for (const [id, what, chosen] of [["model", "Model", state.model], ["permissions", "Permissions", state.permissions]] as const) {
      byId(id).textContent = chosen || what;
      byId(id).setAttribute("aria-label", `${what}: ${chosen || "default"}`);
    }
    this.stopButton.hidden = !state.isRunning;
    this.sendButton.textContent = state.isRunning ? "Steer" : "Send";
    this.text.placeholder = state.isRunning ? "Steer the running turn" : "Ask for anything; @ mentions a file";
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

  /** A message that was not accepted comes back, unless the user has begun another. */
  giveBack(text: string): void {
    if (this.text.value === "") this.text.value = text;
  }

  private typed(): void {
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
    this.deeds.send(text, this.attachments, [...this.mentions].filter((path) => text.includes(`@${path}`)));
    this.text.value = "";
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
