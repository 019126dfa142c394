// An extension of Pi's: asks Dash before each tool call and lets none through without a yes. It fails closed: a
// handler that throws blocks the call, and so does a dialog that is dismissed. The dialog ends with an abort.
import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";

const CHARACTERS_MAX = 20_000;
const WRITERS = new Set(["write", "edit"]);
const NO = "Dash did not allow this. Do not try to do it another way.";
const ODD = "Dash asks about files by their plain names: name it without @, ~, file: and unusual spaces.";

// Pi reads these as something else than they say, so the question would be about another file than it writes.
const isOdd = (path) => /^(@|~|file:)|[\u00A0\u2000-\u200A\u202F\u205F\u3000]/i.test(path);

// Where it would be written: links are followed as far as there is something.
function real(path) {
  try {
    return realpathSync(path);
  } catch {
    const above = dirname(path);
    return above === path ? path : join(real(above), basename(path));
  }
}

export default function (pi) {
  pi.on("tool_call", async (event, ctx) => {
    const { path, command } = event.input ?? {};
    const asked = { tool: event.toolName };
    if (typeof command === "string") asked.command = command;
    if (typeof path === "string" && WRITERS.has(event.toolName)) {
      if (isOdd(path)) return { block: true, reason: ODD };
      asked.path = real(resolve(path));
    }
    const text = JSON.stringify(asked);
    const yes = text.length <= CHARACTERS_MAX && (await ctx.ui.confirm("dash.tool_call", text, { signal: ctx.signal }));
    if (!yes) return { block: true, reason: NO };
  });
}
