/** The Markdown that models write, as elements. What it does not know stays the text that it is. */

import { h } from "./dom.js";

/** Called with the target of a link that is no web address: a path of the workspace, perhaps with a line. */
export type OpenFile = (path: string) => void;

export function markdown(text: string, openFile: OpenFile): DocumentFragment {
  return new Reader(text.split("\n"), openFile, 0).blocks();
}

/** A longer paragraph is shown as it was written: looking for marks in it takes too long. */
const MAX_INLINE_CHARS = 20_000;

const INLINE =
  /(`+)([^`]|[^`].*?[^`])\1(?!`)|\*\*(.+?)\*\*|(?<![\w*])[*_](?![\s*_])(.+?)(?<!\s)[*_](?![\w*])|\[([^\]]+)\]\(([^()\s]+)\)|(https?:\/\/[^\s<>()]+[^\s<>().,;:!?'"])/s;

/** What is nested deeper is shown as it was written. */
const MAX_DEPTH = 20;

const FENCE = /^\s{0,3}(```+|~~~+)\s*([\w+#.-]*)/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^\s{0,3}([-*_])(?:\s*\1){2,}\s*$/;
const BULLET = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const QUOTE = /^\s{0,3}>\s?(.*)$/;
const TABLE_LINE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

class Reader {
  private at = 0;

  constructor(
    private readonly lines: string[],
    private readonly openFile: OpenFile,
    private readonly depth: number,
  ) {}

  blocks(): DocumentFragment {
    const result = document.createDocumentFragment();
    while (this.at < this.lines.length) {
      const block = this.block();
      if (block !== null) result.append(block);
    }
    return result;
  }

  private get line(): string {
    return this.lines[this.at] ?? "";
  }

  private block(): HTMLElement | null {
    const { line } = this;
    if (line.trim() === "") return this.skip();
    if (this.depth > MAX_DEPTH) return this.paragraph();
    if (FENCE.test(line)) return this.code();
    const heading = HEADING.exec(line);
    if (heading !== null) {
      this.at++;
      // The page has headings of its own above those of a message.
      return h("h3", {}, ...this.inline(heading[2] ?? ""));
    }
    if (RULE.test(line)) {
      this.at++;
      return h("hr");
    }
    if (QUOTE.test(line)) return this.quote();
    if (BULLET.test(line)) return this.list();
    if (line.includes("|") && TABLE_LINE.test(this.lines[this.at + 1] ?? "")) return this.table();
    return this.paragraph();
  }

  private skip(): null {
    this.at++;
    return null;
  }

  private code(): HTMLElement {
    const [, fence = "```", language = ""] = FENCE.exec(this.line) ?? [];
    const body: string[] = [];
    this.at++;
    // A fence that is not closed yet is one that still streams.
    while (this.at < this.lines.length && !this.line.trimStart().startsWith(fence)) {
      body.push(this.line);
      this.at++;
    }
    this.at++;
    const label = language === "" ? "code" : `${language} code`;
    return h("pre", { tabindex: "0", role: "region", "aria-label": label }, h("code", {}, body.join("\n")));
  }

  private quote(): HTMLElement {
    const inner: string[] = [];
    for (let found = QUOTE.exec(this.line); found !== null; found = QUOTE.exec(this.line)) {
      inner.push(found[1] ?? "");
      this.at++;
    }
    return h("blockquote", {}, this.within(inner));
  }

  private list(): HTMLElement {
    const [, indent = "", marker = "-"] = BULLET.exec(this.line) ?? [];
    const ordered = /\d/.test(marker);
    const list = h(ordered ? "ol" : "ul", ordered ? { start: String(parseInt(marker)) } : {});
    while (this.at < this.lines.length) {
      const found = BULLET.exec(this.line);
      if (found === null || (found[1] ?? "").length !== indent.length || /\d/.test(found[2] ?? "") !== ordered) break;
      const inner = [found[3] ?? ""];
      this.at++;
      // What is indented further belongs to the entry; so does an empty line before more of it.
      while (this.at < this.lines.length && this.belongsBelow(indent.length)) {
        inner.push(this.line.slice(Math.min(indent.length + 2, this.line.length - this.line.trimStart().length)));
        this.at++;
      }
      list.append(h("li", {}, this.within(inner)));
    }
    return list;
  }

  private within(lines: string[]): DocumentFragment {
    return new Reader(lines, this.openFile, this.depth + 1).blocks();
  }

  private belongsBelow(indent: number): boolean {
    const deeper = (line: string | undefined) => line !== undefined && line.length - line.trimStart().length > indent;
    return this.line.trim() === "" ? deeper(this.lines[this.at + 1]) : deeper(this.line);
  }

  private table(): HTMLElement {
    const cells = (line: string) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
    const row = (tag: "th" | "td") => h("tr", {}, ...cells(this.line).map((cell) => h(tag, {}, ...this.inline(cell))));
    const table = h("table", {}, h("thead", {}, row("th")));
    this.at += 2;
    const body = h("tbody");
    while (this.line.includes("|")) {
      body.append(row("td"));
      this.at++;
    }
    table.append(body);
    return table;
  }

  private paragraph(): HTMLElement {
    const text = [this.line.trim()];
    this.at++;
    while (this.at < this.lines.length && this.line.trim() !== "" && !this.startsBlock(this.line)) {
      text.push(this.line.trim());
      this.at++;
    }
    return h("p", {}, ...this.inline(text.join("\n")));
  }

  private startsBlock(line: string): boolean {
    return [FENCE, HEADING, RULE, QUOTE, BULLET].some((start) => start.test(line));
  }

  private inline(text: string): (Node | string)[] {
    if (text.length > MAX_INLINE_CHARS) return [text];
    const parts: (Node | string)[] = [];
    let rest = text;
    for (let found = INLINE.exec(rest); found !== null; found = INLINE.exec(rest)) {
      const [whole, , code, bold, italic, label, target, address] = found;
      parts.push(
        rest.slice(0, found.index),
        code !== undefined
          ? h("code", {}, code)
          : bold !== undefined
            ? h("strong", {}, ...this.inline(bold))
            : italic !== undefined
              ? h("em", {}, ...this.inline(italic))
              : this.link(label ?? address ?? "", target ?? address ?? ""),
      );
      rest = rest.slice(found.index + whole.length);
    }
    return [...parts, rest].filter((part) => part !== "");
  }

  private link(label: string, target: string): HTMLElement {
    if (/^(https?|mailto):/.test(target)) return h("a", { href: target, title: target }, label);
    const open = (event: Event) => {
      event.preventDefault();
      this.openFile(target);
    };
    return h("a", { href: "#", title: target, onclick: open }, label);
  }
}
