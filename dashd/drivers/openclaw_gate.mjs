// A plugin of OpenClaw's: asks Dash before each tool call and lets none through without a yes. It fails closed: what
// it cannot ask about, and whatever goes wrong, blocks the call. A lost connection is tried again under the same name,
// by which Dash finds the question; no other call has that name, whatever the model calls its calls.
import { randomUUID } from "node:crypto";
import { realpathSync } from "node:fs";
import { request } from "node:http";
import { basename, dirname, join, resolve } from "node:path";

const CHARACTERS_MAX = 20_000;
const TRIES_MAX = 120;
const PAUSE_MS = 1_000;
const PATIENCE_MS = 86_400_000;
const WRITERS = new Set(["write", "edit", "apply_patch"]);
const NO = "Dash did not allow this. Do not try to do it another way.";
const ODD = "Dash asks about files by their plain names: name it without @, ~, file: and unusual spaces.";
const kinds = new Set((process.env.DASH_ASK ?? "").split(","));

// OpenClaw reads these as something else than they say: the question would be about another file than it writes.
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

function questions({ toolName, params, derivedPaths }) {
  const found = [["tool", toolName]];
  if (toolName === "exec") found.push(["command", params?.command]);
  if (WRITERS.has(toolName)) {
    const paths = toolName === "apply_patch" ? (derivedPaths ?? []) : [params?.path];
    if (!paths.length) found.push(["path", undefined]);
    for (const path of paths) found.push(["path", typeof path === "string" ? path : undefined]);
  }
  return found.filter(([kind]) => kinds.has(kind));
}

function post(body, signal) {
  return new Promise((done, failed) => {
    const url = process.env.DASH_ASK_URL;
    const headers = {
      authorization: `Bearer ${process.env.DASH_MODEL_KEY}`,
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
    };
    const call = request(url, { method: "POST", headers, signal }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (piece) => (text += piece));
      answer.on("error", failed);
      answer.on("end", () => (answer.complete ? done({ status: answer.statusCode, text }) : failed(new Error("cut"))));
    });
    call.on("error", failed);
    call.end(body);
  });
}

async function allowed(body, signal) {
  for (let tries = 0; tries < TRIES_MAX && !signal?.aborted; tries++) {
    try {
      const { status, text } = await post(body, signal);
      if (status < 500) return status === 200 && JSON.parse(text).decision === "allow";
    } catch {
      // dashd may be on its way back
    }
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
  return false;
}

async function judge(event, context) {
  try {
    let number = 0;
    const one = randomUUID();
    for (const [kind, said] of questions(event)) {
      if (typeof said !== "string" || !said || said.length > CHARACTERS_MAX) return { block: true, blockReason: NO };
      if (kind === "path" && isOdd(said)) return { block: true, blockReason: ODD };
      const text = kind === "path" ? real(resolve(said)) : said;
      const call = `${event.toolCallId}/${one}/${number++}`.slice(-100);
      const body = JSON.stringify({ kind, text, call });
      if (!(await allowed(body, context?.abortSignal))) return { block: true, blockReason: NO };
    }
  } catch {
    return { block: true, blockReason: NO };
  }
}

export default {
  id: "dash-gate",
  name: "Dash's gates",
  description: "Asks Dash before a tool works.",
  register(api) {
    api.on("before_tool_call", judge, { priority: 100, timeoutMs: PATIENCE_MS }); // past it the call is blocked
  },
};
