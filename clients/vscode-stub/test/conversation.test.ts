import assert from "node:assert/strict";
import { test } from "node:test";

import { Conversation } from "../src/chat/conversation.js";
import type { ServerNotification } from "../src/protocol/index.js";
import type { Thread, ThreadItem, Turn } from "../src/protocol/v2/index.js";

const THREAD = "t1";

function conversation(): Conversation {
  return new Conversation(THREAD, { name: null, model: "m", cwd: "/w", permissions: "", usage: null, warning: null });
}

function turn(id: string, status: Turn["status"], items: ThreadItem[] = []): Turn {
  const times = { completedAt: null, durationMs: null, startedAt: null, rootTurnId: null };
  return { id, status, items, error: null, itemsView: "full", ...times };
}

function message(id: string, text: string): ThreadItem {
  const others = { delivery: null, memoryCitation: null, moderation: null, phase: null, questions: null };
  return { type: "agentMessage", id, text, startedAtMs: null, completedAtMs: null, ...others };
}

function item(method: "item/started" | "item/completed", what: ThreadItem): ServerNotification {
  const time = method === "item/started" ? { startedAtMs: 0 } : { completedAtMs: 0, contentTokenCount: null };
  return { method, params: { threadId: THREAD, turnId: "u1", item: what, ...time } } as ServerNotification;
}

function delta(text: string, threadId = THREAD): ServerNotification {
  return { method: "item/agentMessage/delta", params: { threadId, turnId: "u1", itemId: "i1", delta: text } };
}

function textOf(what: Conversation): string {
  return what.turns.flatMap((each) => each.items.map((one) => (one.type === "agentMessage" ? one.text : ""))).join("|");
}

test("deltas add up to the text of their item, and its completion replaces it", () => {
  const seen = conversation();
  seen.apply({ method: "turn/started", params: { threadId: THREAD, turn: turn("u1", "inProgress") } });
  seen.apply(item("item/started", message("i1", "")));
  assert.deepEqual(seen.apply(delta("one ")), { kind: "item", turnId: "u1", itemId: "i1" });
  seen.apply(delta("two"));
  assert.equal(textOf(seen), "one two");
  assert.equal(seen.running?.id, "u1");
  seen.apply(item("item/completed", message("i1", "one two.")));
  seen.apply({ method: "turn/completed", params: { threadId: THREAD, turn: turn("u1", "completed") } });
  assert.equal(textOf(seen), "one two.");
  assert.equal(seen.running, undefined);
});

test("what is about another thread, and what comes for an item that is not known, changes nothing", () => {
  const seen = conversation();
  assert.equal(seen.apply(delta("lost", "another")), undefined);
  assert.equal(seen.apply(delta("lost")), undefined);
  assert.equal(textOf(seen), "");
});

test("a snapshot replaces what was there, so that nothing is told twice after a lost connection", () => {
  const seen = conversation();
  seen.apply({ method: "turn/started", params: { threadId: THREAD, turn: turn("u1", "inProgress") } });
  seen.apply(item("item/started", message("i1", "half of")));
  seen.load({ name: "N", cwd: "/w", turns: [turn("u1", "inProgress", [message("i1", "half of the text")])] } as unknown as Thread);
  seen.apply(delta(", and the rest"));
  assert.equal(textOf(seen), "half of the text, and the rest");
  assert.equal(seen.surroundings.name, "N");
});

test("older turns come before, and those that are known already are not doubled", () => {
  const seen = conversation();
  seen.load({ name: null, cwd: "/w", turns: [turn("u2", "completed")] } as unknown as Thread);
  seen.prepend([turn("u1", "completed"), turn("u2", "completed")]);
  assert.deepEqual(seen.turns.map((each) => each.id), ["u1", "u2"]);
});

test("an error that is tried again is a notice, and one that is final stays with the turn", () => {
  const seen = conversation();
  const error = (willRetry: boolean): ServerNotification => ({
    method: "error",
    params: {
      threadId: THREAD,
      turnId: "u1",
      willRetry,
      error: { message: "no luck", additionalDetails: null, codexErrorInfo: null, misalignment: null },
    },
  });
  seen.apply(error(true));
  const told = () => ({ notice: seen.turns[0]?.notice, error: seen.turns[0]?.error?.message });
  assert.deepEqual(told(), { notice: "no luck", error: undefined });
  seen.apply(error(false));
  assert.equal(told().error, "no luck");
});
