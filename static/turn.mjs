// What only a turn needs. Loaded when it comes near, so that the line is light.

import { readPlan } from "./plan.mjs";
import { turnView } from "./view-turn.mjs";

export const turn = { readPlan, turnView };
