// An extension of Pi's: asks Dash before each tool call and lets none through without a yes. It fails closed: a
// handler that throws blocks the call, and so does a dialog that is dismissed. The dialog ends with an abort.
import { resolve } from "node:path";

const CHARACTERS_MAX = 20_000;
const WRITERS = new Set(["write", "edit"]);

export default function (pi) {
  pi.on("tool_call", async (event, ctx) => {
    const { path, command } = event.input ?? {};
    const asked = { tool: event.toolName };
    if (typeof command === "string") asked.command = command;
    if (typeof path === "string" && WRITERS.has(event.toolName)) asked.path = resolve(path);
    const text = JSON.stringify(asked);
    const yes = text.length <= CHARACTERS_MAX && (await ctx.ui.confirm("dash.tool_call", text, { signal: ctx.signal }));
    if (!yes) return { block: true, reason: "Dash did not allow this. Do not try to do it another way." };
  });
}
