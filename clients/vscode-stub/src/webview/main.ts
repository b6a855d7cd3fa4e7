/** The chat's page: turns above, questions and the composer below. */

import { Conversation, type TurnView } from "../chat/conversation.js";
import type { FromPage, Message, ToPage } from "../chat/messages.js";
import type { Answer } from "../chat/questions.js";
import type { ServerNotification } from "../protocol/index.js";
import type { ThreadItem } from "../protocol/v2/index.js";
import { Composer } from "./composer.js";
import { byId, h, replaceKeeping } from "./dom.js";
import { renderItem, type Actions } from "./items.js";
import { renderQuestion } from "./question.js";

/** What a tab is restored from when its page is loaded again, or the editor is opened again. */
interface State {
  threadId: string;
  draft: string;
}

declare function acquireVsCodeApi(): {
  postMessage(message: FromPage): void;
  getState(): State | undefined;
  setState(state: State): void;
};

const editor = acquireVsCodeApi();
const tell = (message: FromPage) => editor.postMessage(message);

let conversation: Conversation | undefined;
const stale = new Set<string>();
let isDrawing = false;
/** Whether the end stays in sight as the conversation grows: until the reader scrolls away from it. */
let isFollowing = true;
let place = 0;

const log = byId("log");
const older = byId<HTMLButtonElement>("older");
const composer = new Composer({
  send: (message: Message) => {
    isFollowing = true;
    byId("notes").textContent = "";
    tell({ kind: "send", message });
  },
  changed: (draft: string) => {
    if (conversation !== undefined) editor.setState({ threadId: conversation.threadId, draft });
  },
  stop: () => tell({ kind: "stop" }),
  findFiles: (query: string) => tell({ kind: "findFiles", query }),
  command: (command) => tell({ kind: "command", command }),
});

log.addEventListener("scroll", () => {
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 40) isFollowing = true;
  // Only a reader scrolls upwards; text that grows, or a page that is made narrower, leaves the place where it is.
  else if (log.scrollTop < place) isFollowing = false;
  place = log.scrollTop;
});
new ResizeObserver(follow).observe(log);
older.addEventListener("click", () => tell({ kind: "older" }));
byId("implement").addEventListener("click", () => tell({ kind: "implement" }));
composer.restore(editor.getState()?.draft ?? "");
window.addEventListener("message", ({ data }: MessageEvent<ToPage>) => receive(data));
tell({ kind: "ready" });

function receive(message: ToPage): void {
  switch (message.kind) {
    case "opened":
      conversation = new Conversation(message.threadId, message.surroundings, message.turns);
      editor.setState({ threadId: message.threadId, draft: composer.draft });
      older.hidden = !message.hasOlder;
      byId("questions").replaceChildren();
      drawAll();
      break;
    case "older": {
      const added = conversation?.prepend(message.turns) ?? [];
      const hadFocus = document.activeElement === older;
      older.hidden = !message.hasOlder;
      if (hadFocus && older.hidden) log.focus({ preventScroll: true });
      drawOlder(added);
      break;
    }
    case "event": {
      const change = conversation?.apply(message.event);
      if (message.event.method === "turn/started") byId("notes").textContent = "";
      speak(message.event);
      if (change?.kind === "turn") redraw(change.turnId);
      else if (change?.kind === "item") redraw(change.turnId, change.itemId);
      else if (change !== undefined) drawSurroundings();
      break;
    }
    case "ask": {
      const answer = (given: Answer) => tell({ kind: "answer", id: message.question.id, answer: given });
      // It does not take the focus: a key that is meant for the message must not be an answer.
      document.getElementById(`question-${message.question.id}`)?.remove();
      byId("questions").append(renderQuestion(message.question, answer));
      break;
    }
    case "answered": {
      const question = document.getElementById(`question-${message.id}`);
      // The focus stays where the user goes on.
      if (question?.contains(document.activeElement)) composer.focus();
      question?.remove();
      if (message.note !== "") byId("notes").textContent = message.note;
      break;
    }
    case "connection":
      byId("connection").textContent = message.text ?? "";
      byId("connection").hidden = message.text === null;
      break;
    case "files":
      composer.offer(message.query, message.paths);
      break;
    case "attach":
      composer.attach(message.attachment);
      break;
    case "refused":
      composer.giveBack(message.message);
      byId("notes").textContent = message.reason;
      break;
  }
}

/** Tells a screen reader what is complete: read while it streams, an answer would be read again with every word. */
function speak(event: ServerNotification): void {
  if (event.method !== "item/completed") return;
  const { item } = event.params;
  if (item.type === "agentMessage") byId("spoken").textContent = item.text;
  if (item.type === "plan") byId("spoken").textContent = `Proposed plan: ${item.text}`;
  if (item.type === "commandExecution") byId("spoken").textContent = `${item.command}: exit code ${item.exitCode ?? "unknown"}`;
}

/** Draws what has changed with the next frame, however many deltas have come until then. */
function redraw(turnId: string, itemId = ""): void {
  stale.add(`${turnId}\n${itemId}`);
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    for (const key of stale) {
      const [turn = "", item = ""] = key.split("\n");
      draw(turn, item);
    }
    stale.clear();
    drawSurroundings();
    follow();
  });
}

function drawAll(): void {
  const turns = conversation?.turns ?? [];
  log.replaceChildren(older, ...turns.map((turn) => drawTurn(turn)));
  drawSurroundings();
  isFollowing = true;
  follow();
}

/** Draws what comes before, and leaves what the reader looks at where it is. */
function drawOlder(turns: TurnView[]): void {
  const below = log.scrollHeight - log.scrollTop;
  older.after(...turns.map((turn) => drawTurn(turn)));
  log.scrollTop = log.scrollHeight - below;
}

function draw(turnId: string, itemId: string): void {
  const turn = conversation?.turns.find((each) => each.id === turnId);
  if (turn === undefined) return;
  const section = document.getElementById(`turn-${turnId}`) ?? log.appendChild(drawTurn(turn));
  if (itemId === "") {
    section.querySelector(".plan-steps")?.remove();
    section.querySelector(".outcome")?.remove();
    section.append(...[drawPlan(turn), drawOutcome(turn)].filter((part) => part !== null));
    return;
  }
  const item = turn.items.find((each) => each.id === itemId);
  if (item === undefined) return;
  const old = document.getElementById(`item-${itemId}`);
  const drawn = drawItem(turn.id, item, old);
  if (drawn === null) return;
  if (old !== null) replaceKeeping(old, drawn);
  else section.insertBefore(drawn, section.querySelector(".plan-steps, .outcome"));
}

function drawTurn(turn: TurnView): HTMLElement {
  const items = turn.items.map((item) => drawItem(turn.id, item, null));
  const parts = [...items, drawPlan(turn), drawOutcome(turn)].filter((part) => part !== null);
  return h("section", { id: `turn-${turn.id}`, class: "turn" }, ...parts);
}

function drawItem(turnId: string, item: ThreadItem, old: HTMLElement | null): HTMLElement | null {
  const folder = `${conversation?.surroundings.cwd ?? ""}/`;
  const actions: Actions = {
    shown: (path) => (path.startsWith(folder) ? path.slice(folder.length) : path),
    openFile: (path) => tell({ kind: "openFile", path }),
    openDiff: (itemId, path) => tell({ kind: "openDiff", turnId, itemId, path }),
  };
  const drawn = renderItem(item, actions, old instanceof HTMLDetailsElement ? old.open : undefined);
  drawn?.setAttribute("id", `item-${item.id}`);
  return drawn;
}

function drawPlan(turn: TurnView): HTMLElement | null {
  if (turn.plan === null || turn.plan.steps.length === 0) return null;
  const signs = { completed: "✓", inProgress: "▸", pending: "○" };
  const steps = turn.plan.steps.map(({ status, step }) =>
    h("li", { class: status }, h("span", { "aria-hidden": "true" }, `${signs[status]} `), step, h("span", { class: "hidden" }, ` (${status})`)),
  );
  const { explanation } = turn.plan;
  return h(
    "div",
    { class: "plan-steps" },
    explanation ? h("p", {}, explanation) : null,
    h("ol", { "aria-label": "Plan" }, ...steps),
  );
}

function drawOutcome(turn: TurnView): HTMLElement | null {
  if (turn.error !== null) return h("div", { class: "outcome failed", role: "alert" }, turn.error.message);
  if (turn.status === "interrupted") return h("div", { class: "outcome" }, "Stopped");
  if (turn.status !== "inProgress") return null;
  return h("div", { class: "outcome working" }, turn.notice ?? "Working…");
}

function drawSurroundings(): void {
  if (conversation === undefined) return;
  const { usage, warning } = conversation.surroundings;
  composer.show(conversation.surroundings, conversation.running !== undefined);
  const proposal = byId("proposal");
  const isProposed = conversation.proposal !== undefined;
  if (!isProposed && proposal.contains(document.activeElement)) composer.focus();
  proposal.hidden = !isProposed;
  const window = usage?.modelContextWindow;
  const share = usage && window ? ` of ${window.toLocaleString()}` : "";
  byId("usage").textContent = usage ? `${usage.last.totalTokens.toLocaleString()}${share} tokens` : "";
  if (warning !== null) byId("notes").textContent = warning;
}

function follow(): void {
  if (isFollowing) log.scrollTop = log.scrollHeight;
}
