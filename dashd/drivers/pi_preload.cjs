// Loaded into Pi before its own code (`node --require`): gives it an agent directory of its own, with the
// provider that is this agent's listener and the settings that Dash needs. Everything comes by environment;
// the key itself stays there, and the files name only its variable. What Pi says of a message or a tool while it
// is not done yet is kept in: it is the most of what Pi prints, all of it is said again at the end, and Dash can
// hear no more of an attempt than it keeps.
"use strict";
const fs = require("fs");
const os = require("os");
const path = require("path");

// Node has taken it up; what Pi starts has nothing to look for in Pi's cache.
delete process.env.NODE_COMPILE_CACHE;
delete process.env.OPENCLAW_PACKAGED_COMPILE_CACHE_RESPAWNED;

if (process.env.DASH_PI_FILES) {
  const told = process.env.PI_CODING_AGENT_DIR;
  if (told) fs.mkdirSync(told, { recursive: true, mode: 0o700 });
  const folder = told || fs.mkdtempSync(path.join(os.tmpdir(), "dash-pi-"));
  for (const [name, content] of Object.entries(JSON.parse(process.env.DASH_PI_FILES)))
    fs.writeFileSync(path.join(folder, name), JSON.stringify(content), { mode: 0o600 });
  process.env.PI_CODING_AGENT_DIR = folder;
  delete process.env.DASH_PI_FILES;
  if (!told) process.on("exit", () => fs.rmSync(folder, { recursive: true, force: true }));
}

const UPDATE = /^\{"type":"(?:message|tool_execution)_update"[^\n]*\n$/;
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = (text, ...more) => {
  if (typeof text !== "string" || !UPDATE.test(text)) return write(text, ...more);
  const done = more.find((each) => typeof each === "function");
  if (done) process.nextTick(done);
  return true;
};
