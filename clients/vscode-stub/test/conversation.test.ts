import assert from "node:assert/strict";
import { test } from "node:test";

import { Conversation, viewOf, type PlanView, type Surroundings, type TurnView } from "../src/chat/conversation.js";
import type { ServerNotification } from "../src/protocol/index.js";
import type { ThreadItem, Turn } from "../src/protocol/v2/index.js";

const THREAD = "t1";

function conversation(turns: TurnView[] = [], mode: Surroundings["mode"] = "default"): Conversation {
  const settings = { model: "m", effort: null, mode, permissions: "", approvals: "never" } as const;
  return new Conversation(THREAD, { ...settings, name: null, cwd: "/w", usage: null, warning: null }, turns);
}

function view(turn: Turn, plans: ReadonlyMap<string, PlanView> = new Map()): TurnView {
  return viewOf(turn, plans);
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

test("what follows a snapshot is added to it", () => {
  const seen = conversation([view(turn("u1", "inProgress", [message("i1", "half of the text")]))]);
  seen.apply(delta(", and the rest"));
  assert.equal(textOf(seen), "half of the text, and the rest");
});

test("two views of one event keep their texts apart", () => {
  const started = item("item/started", message("i1", ""));
  const told = [view(turn("u1", "inProgress", [message("i0", "a")]))];
  const [one, two] = [conversation(), conversation(told)];
  for (const seen of [one, two]) seen.apply(started);
  for (const seen of [one, two]) seen.apply(delta("once"));
  assert.deepEqual([textOf(one), textOf(two)], ["once", "a|once"]);
});

test("steps that were told before come back with their turn, and newer ones replace them", () => {
  const steps = (step: string): PlanView => ({ steps: [{ step, status: "pending" }], explanation: null });
  const seen = conversation([view(turn("u1", "inProgress"), new Map([["u1", steps("old")]])), view(turn("u2", "inProgress"))]);
  assert.deepEqual(seen.turns.map((each) => each.plan), [steps("old"), null]);
  const { steps: plan } = steps("new");
  seen.apply({ method: "turn/plan/updated", params: { threadId: THREAD, turnId: "u1", plan, explanation: null } });
  assert.deepEqual(seen.turns[0]?.plan, steps("new"));
});

test("a plan waits for the user's word in plan mode alone, and only until somebody says something", () => {
  const plan = { type: "plan", id: "p1", text: "1. Weave" } as ThreadItem;
  const proposed = () => [view(turn("u1", "completed", [message("i1", "Here:"), plan]))];
  assert.equal(conversation(proposed()).proposal, undefined);
  const seen = conversation(proposed(), "plan");
  assert.equal(seen.proposal?.text, "1. Weave");
  seen.apply({ method: "turn/started", params: { threadId: THREAD, turn: turn("u2", "inProgress") } });
  assert.equal(seen.proposal, undefined);
  seen.apply({ method: "turn/completed", params: { threadId: THREAD, turn: turn("u2", "completed") } });
  assert.equal(seen.proposal, undefined);
});

test("older turns come before, and those that are known already are not doubled", () => {
  const seen = conversation([view(turn("u2", "completed"))]);
  const added = seen.prepend([view(turn("u1", "completed")), view(turn("u2", "completed"))]);
  assert.deepEqual(added.map((each) => each.id), ["u1"]);
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
