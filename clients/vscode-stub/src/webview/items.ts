/** One item of a turn, as the reader sees it. */

import type { FileUpdateChange, ThreadItem, UserInput } from "../protocol/v2/index.js";
import { h } from "./dom.js";
import { markdown } from "./markdown.js";

export interface Actions {
  /** A path as it is shown: relative to the thread's folder, where it lies in it. */
  shown(path: string): string;
  openFile(path: string): void;
  openDiff(itemId: string, path: string): void;
}

/** Null for what is not shown. `wasOpen` tells whether what was there before was unfolded, if there was anything. */
export function renderItem(item: ThreadItem, actions: Actions, wasOpen: boolean | undefined): HTMLElement | null {
  const isOpen = wasOpen ?? false;
  switch (item.type) {
    case "userMessage":
      return h("div", { class: "message user" }, h("h2", { class: "hidden" }, "You"), ...item.content.map(renderInput));
    case "agentMessage":
      return h(
        "div",
        { class: "message agent" },
        h("h2", { class: "hidden" }, "Agent"),
        markdown(item.text, (path) => actions.openFile(path)),
      );
    case "plan":
      return h("div", { class: "message plan" }, h("h2", {}, "Proposed plan"), markdown(item.text, (path) => actions.openFile(path)));
    case "reasoning": {
      const text = [...item.summary, ...item.content].join("\n\n").trim();
      return text === "" ? null : folded("reasoning", "Thoughts", isOpen, markdown(text, (path) => actions.openFile(path)));
    }
    case "commandExecution":
      return renderCommand(item, wasOpen);
    case "fileChange":
      return h(
        "div",
        { class: "item files" },
        h("div", { class: "head" }, `Changes (${changeStatus(item.status)})`),
        h("ul", {}, ...item.changes.map((change) => renderChange(change, item.id, actions))),
      );
    case "mcpToolCall":
      return folded("tool", `${item.server}: ${item.tool} (${item.status})`, isOpen, json(item.result ?? item.error ?? item.arguments));
    case "dynamicToolCall":
      return folded("tool", `${item.tool} (${item.status})`, isOpen, json(item.arguments));
    case "webSearch":
      return h("div", { class: "item" }, `Searched the web: ${item.query}`);
    case "imageView":
      return h("div", { class: "item" }, `Looked at ${actions.shown(item.path)}`);
    case "contextCompaction":
      return h("div", { class: "item" }, "The history was compacted");
    case "enteredReviewMode":
      return h("div", { class: "item" }, `Review: ${item.review}`);
    case "exitedReviewMode":
      return h("div", { class: "message agent" }, markdown(item.review, (path) => actions.openFile(path)));
    case "functionCallOutput":
    case "hookPrompt":
    case "sleep":
      return null;
    default:
      // What has no form here, also of a newer server, is there at least.
      return folded("tool", (item as ThreadItem).type, isOpen, json(item));
  }
}

function renderInput(input: UserInput): Node {
  switch (input.type) {
    case "text":
      return h("p", { class: "said" }, input.text);
    case "mention":
    case "skill":
      return h("span", { class: "chip" }, input.name);
    case "localImage":
    case "localAudio":
      return h("span", { class: "chip" }, input.path);
    default:
      return h("span", { class: "chip" }, input.type);
  }
}

function renderCommand(item: Extract<ThreadItem, { type: "commandExecution" }>, wasOpen: boolean | undefined): HTMLElement {
  const failed = item.status === "failed" || item.status === "declined";
  const ended =
    item.status === "inProgress"
      ? "running"
      : item.status === "declined"
        ? "declined"
        : `exit code ${item.exitCode ?? "unknown"}${item.durationMs === null ? "" : `, ${(item.durationMs / 1000).toFixed(1)} s`}`;
  const output = item.aggregatedOutput ?? "";
  const head = h(
    "summary",
    {},
    h("code", { class: "command" }, withoutShell(item.command)),
    h("span", { class: failed ? "status failed" : "status" }, ended),
  );
  return h(
    "details",
    { class: "item command", open: wasOpen ?? (item.status === "inProgress" || failed) },
    head,
    h("pre", { tabindex: "0", role: "region", "aria-label": "output" }, output === "" ? "(no output)" : output),
  );
}

/** The script of `bash -lc '...'`, which is what a reader wants to see. */
function withoutShell(command: string): string {
  const found = /^\S*\/?(?:ba|z|da)?sh -l?c (['"])([\s\S]*)\1$/.exec(command);
  return found?.[2] ?? command;
}

function renderChange(change: FileUpdateChange, itemId: string, actions: Actions): HTMLElement {
  const { kind, path } = change;
  const moved = kind.type === "update" && kind.move_path !== null ? ` → ${actions.shown(kind.move_path)}` : "";
  const [added, removed] = counts(change);
  return h(
    "li",
    {},
    h("button", { class: "link", onclick: () => actions.openDiff(itemId, path), title: `Show the changes of ${path}` }, actions.shown(path) + moved),
    h("span", { class: "added" }, ` +${added}`),
    h("span", { class: "removed" }, ` −${removed}`),
    kind.type === "update" ? null : h("span", { class: "status" }, kind.type === "add" ? " new" : " deleted"),
  );
}

function counts({ diff, kind }: FileUpdateChange): [number, number] {
  const lines = diff.replace(/\n$/, "").split("\n");
  if (kind.type === "add") return [lines.length, 0];
  if (kind.type === "delete") return [0, lines.length];
  const starting = (sign: string) => lines.filter((line) => line.startsWith(sign) && !line.startsWith(sign.repeat(3))).length;
  return [starting("+"), starting("-")];
}

function changeStatus(status: string): string {
  return status === "inProgress" ? "proposed" : status;
}

function folded(kind: string, title: string, isOpen: boolean, ...content: (Node | string)[]): HTMLElement {
  return h("details", { class: `item ${kind}`, open: isOpen }, h("summary", {}, title), ...content);
}

function json(value: unknown): HTMLElement {
  return h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2));
}
