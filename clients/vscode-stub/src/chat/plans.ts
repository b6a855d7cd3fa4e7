/** The steps of turns. The server tells them once and keeps none, so the newest stay with the workspace. */

import type { PlanView } from "./conversation.js";

/** What an editor remembers for a workspace. */
export interface Memory {
  get<T>(key: string): T | undefined;
  update(key: string, value: unknown): PromiseLike<void>;
}

interface Kept {
  threadId: string;
  turnId: string;
  plan: PlanView;
}

const KEY = "turnloom.plans";
const MAX_PLANS = 50;
const MAX_STEPS = 50;
const MAX_STEP_CHARS = 500;

export class Plans {
  constructor(private readonly memory: Memory) {}

  /** By turn. */
  of(threadId: string): Map<string, PlanView> {
    return new Map(this.all().flatMap((kept) => (kept.threadId === threadId ? [[kept.turnId, kept.plan]] : [])));
  }

  keep(threadId: string, turnId: string, plan: PlanView): void {
    const others = this.all().filter((kept) => kept.turnId !== turnId);
    void this.memory.update(KEY, [...others, { threadId, turnId, plan: shortened(plan) }].slice(-MAX_PLANS));
  }

  private all(): Kept[] {
    return this.memory.get<Kept[]>(KEY) ?? [];
  }
}

function shortened({ explanation, steps }: PlanView): PlanView {
  return {
    explanation: explanation?.slice(0, MAX_STEP_CHARS) ?? null,
    steps: steps.slice(0, MAX_STEPS).map(({ status, step }) => ({ status, step: step.slice(0, MAX_STEP_CHARS) })),
  };
}
