import assert from "node:assert/strict";
import { test } from "node:test";

import type { PlanView } from "../src/chat/conversation.js";
import { Plans, type Memory } from "../src/chat/plans.js";

function memory(): Memory & { size(): number } {
  const values = new Map<string, string>();
  return {
    get: (key) => (values.has(key) ? JSON.parse(values.get(key) ?? "") : undefined),
    update: async (key, value) => void values.set(key, JSON.stringify(value)),
    size: () => [...values.values()].join("").length,
  };
}

function plan(step: string): PlanView {
  return { steps: [{ step, status: "inProgress" }], explanation: "why" };
}

test("the last steps of a turn are there for whoever looks next, and for no other thread", () => {
  const kept = memory();
  new Plans(kept).keep("t1", "u1", plan("first"));
  new Plans(kept).keep("t1", "u1", plan("then"));
  new Plans(kept).keep("t2", "u2", plan("other"));
  assert.deepEqual(new Plans(kept).of("t1"), new Map([["u1", plan("then")]]));
  assert.deepEqual(new Plans(memory()).of("t1"), new Map());
});

test("only the newest are kept, and none of them grows without bound", () => {
  const kept = memory();
  const plans = new Plans(kept);
  const long: PlanView = { steps: Array.from({ length: 1000 }, () => ({ step: "x".repeat(10_000), status: "pending" })), explanation: null };
  for (let turn = 0; turn < 80; turn++) plans.keep("t1", `u${turn}`, turn === 79 ? long : plan("short"));
  assert.equal(plans.of("t1").size, 50);
  assert.equal(plans.of("t1").has("u29"), false);
  assert.equal(plans.of("t1").has("u30"), true);
  assert(kept.size() < 50_000, `${kept.size()}`);
});
