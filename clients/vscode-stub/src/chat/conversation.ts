/** What a thread looks like to its reader, folded from a snapshot and the events that follow. Knows no editor. */

import type { CollaborationMode, ModeKind, ReasoningEffort, ServerNotification } from "../protocol/index.js";
import type {
  ActivePermissionProfile,
  AskForApproval,
  SandboxPolicy,
  ThreadItem,
  ThreadTokenUsage,
  Turn,
  TurnError,
  TurnPlanStep,
  TurnStatus,
} from "../protocol/v2/index.js";

export interface TurnView {
  id: string;
  status: TurnStatus;
  error: TurnError | null;
  /** Trouble that the server deals with by itself, such as a stream that it asks for again. */
  notice: string | null;
  items: ThreadItem[];
  plan: PlanView | null;
}

/** The steps of a turn, and why they have changed. */
export interface PlanView {
  steps: TurnPlanStep[];
  explanation: string | null;
}

/** What a notification has changed: a whole turn or one item of it, or only what stands around the turns. */
export type Change =
  | { kind: "item"; turnId: string; itemId: string }
  | { kind: "turn"; turnId: string }
  | { kind: "surroundings" };

/** The parts of an open thread that are told apart from its turns. */
export interface Surroundings {
  name: string | null;
  model: string;
  effort: ReasoningEffort | null;
  mode: ModeKind;
  cwd: string;
  permissions: string;
  approvals: AskForApproval;
  usage: ThreadTokenUsage | null;
  warning: string | null;
}

type Command = Extract<ThreadItem, { type: "commandExecution" }>;

/** Output that is shown of one command; the end is what matters. */
const MAX_OUTPUT_CHARS = 200_000;

export class Conversation {
  constructor(
    readonly threadId: string,
    readonly surroundings: Surroundings,
    readonly turns: TurnView[] = [],
  ) {}

  /** Puts older turns before what is there. Those that are new to it are returned. */
  prepend(older: TurnView[]): TurnView[] {
    const known = new Set(this.turns.map((turn) => turn.id));
    const added = older.filter((turn) => !known.has(turn.id));
    this.turns.unshift(...added);
    return added;
  }

  get running(): TurnView | undefined {
    const last = this.turns.at(-1);
    return last?.status === "inProgress" ? last : undefined;
  }

  /** The plan that waits for the user's word: proposed in plan mode, by the newest turn, which has come to its end. */
  get proposal(): Extract<ThreadItem, { type: "plan" }> | undefined {
    const last = this.turns.at(-1);
    if (this.surroundings.mode !== "plan" || last?.status !== "completed") return undefined;
    return last.items.findLast((item) => item.type === "plan");
  }

  /** Takes in an event; undefined if it is about another thread, or changes nothing that is shown. */
  apply(event: ServerNotification): Change | undefined {
    const { params } = event;
    if (!("threadId" in params) || params.threadId !== this.threadId) return undefined;
    switch (event.method) {
      case "turn/started":
        this.replaceTurn(event.params.turn);
        this.surroundings.warning = null;
        return { kind: "turn", turnId: event.params.turn.id };
      case "turn/completed": {
        const { turn } = event.params;
        const view = this.turn(turn.id);
        view.status = turn.status;
        view.error = turn.error;
        view.notice = null;
        return { kind: "turn", turnId: turn.id };
      }
      case "turn/plan/updated":
        this.turn(event.params.turnId).plan = { steps: event.params.plan, explanation: event.params.explanation };
        return { kind: "turn", turnId: event.params.turnId };
      case "error": {
        const view = this.turn(event.params.turnId);
        if (event.params.willRetry) view.notice = event.params.error.message;
        else view.error = event.params.error;
        return { kind: "turn", turnId: event.params.turnId };
      }
      case "item/started":
      case "item/completed":
        return this.put(event.params.turnId, event.params.item);
      case "item/agentMessage/delta":
        return this.change(event.params, "agentMessage", (item) => void (item.text += event.params.delta));
      case "item/plan/delta":
        return this.change(event.params, "plan", (item) => void (item.text += event.params.delta));
      case "item/reasoning/summaryTextDelta": {
        const { summaryIndex, delta } = event.params;
        return this.change(event.params, "reasoning", (item) => append(item.summary, summaryIndex, delta));
      }
      case "item/reasoning/textDelta": {
        const { contentIndex, delta } = event.params;
        return this.change(event.params, "reasoning", (item) => append(item.content, contentIndex, delta));
      }
      case "item/commandExecution/outputDelta":
        return this.change(event.params, "commandExecution", (item) => addOutput(item, event.params.delta));
      case "item/fileChange/patchUpdated":
        return this.change(event.params, "fileChange", (item) => void (item.changes = event.params.changes));
      case "thread/name/updated":
        this.surroundings.name = event.params.threadName;
        return { kind: "surroundings" };
      case "thread/tokenUsage/updated":
        this.surroundings.usage = event.params.tokenUsage;
        return { kind: "surroundings" };
      case "thread/settings/updated":
        Object.assign(this.surroundings, settingsOf(event.params.threadSettings));
        return { kind: "surroundings" };
      case "warning":
        this.surroundings.warning = event.params.message;
        return { kind: "surroundings" };
      default:
        return undefined;
    }
  }

  private turn(id: string): TurnView {
    const known = this.turns.find((turn) => turn.id === id);
    if (known !== undefined) return known;
    const view: TurnView = { id, status: "inProgress", error: null, notice: null, items: [], plan: null };
    this.turns.push(view);
    return view;
  }

  private replaceTurn(turn: Turn): void {
    const view = this.turn(turn.id);
    view.status = turn.status;
    view.error = turn.error;
  }

  private put(turnId: string, item: ThreadItem): Change {
    const { items } = this.turn(turnId);
    const place = items.findIndex((known) => known.id === item.id);
    // What deltas are added to belongs to this conversation alone.
    const own = structuredClone(item);
    if (place < 0) items.push(own);
    else items[place] = own;
    return { kind: "item", turnId, itemId: item.id };
  }

  private change<T extends ThreadItem["type"]>(
    where: { turnId: string; itemId: string },
    type: T,
    edit: (item: Extract<ThreadItem, { type: T }>) => void,
  ): Change | undefined {
    const item = this.turn(where.turnId).items.find((known) => known.id === where.itemId);
    if (item?.type !== type) return undefined;
    edit(item as Extract<ThreadItem, { type: T }>);
    return { kind: "item", turnId: where.turnId, itemId: where.itemId };
  }
}

/** A turn as the server tells it; `plans` has the steps by turn. */
export function viewOf(turn: Turn, plans: ReadonlyMap<string, PlanView>): TurnView {
  const { id, status, error, items } = turn;
  return { id, status, error, notice: null, items: structuredClone(items), plan: plans.get(id) ?? null };
}

/** What is told of a thread's settings, both when it is opened and when they change. */
export function settingsOf(told: {
  model: string;
  effort: ReasoningEffort | null;
  collaborationMode?: CollaborationMode | null;
  activePermissionProfile: ActivePermissionProfile | null;
  sandboxPolicy: SandboxPolicy;
  approvalPolicy: AskForApproval;
}) {
  return {
    model: told.model,
    effort: told.effort,
    mode: told.collaborationMode?.mode ?? "default",
    permissions: told.activePermissionProfile?.id ?? told.sandboxPolicy.type,
    approvals: told.approvalPolicy,
  };
}

function append(texts: string[], index: number, delta: string): void {
  while (texts.length <= index) texts.push("");
  texts[index] += delta;
}

function addOutput(item: Command, delta: string): void {
  const output = (item.aggregatedOutput ?? "") + delta;
  item.aggregatedOutput = output.length > MAX_OUTPUT_CHARS ? output.slice(-MAX_OUTPUT_CHARS) : output;
}
