/** The ways of working: doing the work, or planning it with the user first. */

import type { Client } from "../client/client.js";
import type { CollaborationMode, ModeKind } from "../protocol/index.js";
import type { Surroundings } from "./conversation.js";

/** What the agent is told to carry out the plan that it has proposed. */
export const IMPLEMENT = "Implement the plan.";

type Effort = Surroundings["effort"];

export class Modes {
  /** The effort before plan mode, which has one of its own: it comes back with the work. */
  private effortBefore: Effort | undefined;

  constructor(private readonly client: Client) {}

  /** What is to be told to the server for `mode`. */
  async to(mode: ModeKind, { model, effort }: Surroundings): Promise<CollaborationMode> {
    const { data } = await this.client.request("collaborationMode/list", {});
    const offered = data.find((each) => each.mode === mode);
    if (offered === undefined) throw new Error(`this server offers no ${mode} mode`);
    if (mode === "plan") this.effortBefore = effort;
    const usual = mode === "plan" || this.effortBefore === undefined ? effort : this.effortBefore;
    return {
      mode,
      settings: {
        model: offered.model ?? model,
        reasoning_effort: offered.reasoning_effort ?? usual,
        developer_instructions: null,
      },
    };
  }
}
