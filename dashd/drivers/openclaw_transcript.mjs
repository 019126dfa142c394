// Prints one conversation out of OpenClaw's database, an event a line, as it stands there.
//
// dashd hands this file to Node on its standard input, in a jail that sees Node and the session's folder, both
// read-only, and nothing else: whatever is in that folder was written by an agent. Arguments: the database, the
// session's key, and how many bytes an event and all of them may have. Exit codes: 0; 3: nothing was said yet;
// 4: it cannot be read, and standard error says why in one line.
import { copyFileSync, existsSync, lstatSync, mkdtempSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { zstdDecompressSync } from "node:zlib";

const [path, key, eventMax, totalMax] = process.argv.slice(2);
const LOG = `${path}-wal`;
const EVENT_MAX = Number(eventMax);
const TOTAL_MAX = Number(totalMax);
const MEMORY_MAX = 256 << 20;
const NOTHING = 3;
const UNREADABLE = 4;
const LINE_FEEDS = /\n/g; // in JSON they stand between the tokens alone
// Of rows that stand in the file: what a view computes may never end.
const TABLES = `
  SELECT count(*) AS found FROM sqlite_schema
  WHERE type = 'table' AND rootpage > 0 AND name IN ('session_nodes', 'transcript_events')`;
const EVENTS = `
  SELECT e.seq,
    CASE WHEN octet_length(e.event_json) <= ${EVENT_MAX} THEN e.event_json END AS json,
    CASE WHEN octet_length(e.event_zstd) <= ${EVENT_MAX} THEN e.event_zstd END AS zstd
  FROM session_nodes n JOIN transcript_events e ON e.session_id = n.current_session_id
  WHERE n.session_key = ? ORDER BY e.seq`;

function end(code, words) {
  if (words) process.stderr.write(`${words.replace(/\s+/g, " ").slice(0, 300)}\n`);
  process.exit(code);
}

function open(file, rests) {
  const url = pathToFileURL(file);
  if (rests) url.searchParams.set("immutable", "1"); // SQLite would make a log, where nobody may write
  const database = new DatabaseSync(url, { readOnly: true, timeout: 1_000, allowExtension: false });
  database.exec(`PRAGMA temp_store = MEMORY; PRAGMA hard_heap_limit = ${MEMORY_MAX}`); // what it sorts
  return database;
}

function copied() {
  const log = lstatSync(LOG);
  if (!log.isFile()) end(UNREADABLE, "the log of its database is no plain file");
  if (lstatSync(path).size + log.size > MEMORY_MAX) end(UNREADABLE, "its database is too large to be copied");
  const copy = join(mkdtempSync(join(tmpdir(), "read-")), "copy.sqlite");
  copyFileSync(path, copy);
  copyFileSync(LOG, `${copy}-wal`);
  return copy;
}

function text(row) {
  if (typeof row.json === "string") return row.json.replace(LINE_FEEDS, " ");
  if (!(row.zstd instanceof Uint8Array)) end(UNREADABLE, `its event ${row.seq} is too large, or empty`);
  try {
    return zstdDecompressSync(row.zstd, { maxOutputLength: EVENT_MAX }).toString("utf8").replace(LINE_FEEDS, " ");
  } catch (error) {
    end(UNREADABLE, `its event ${row.seq} cannot be unpacked: ${error.message}`);
  }
}

function read(file, rests) {
  const lines = [];
  let total = 0;
  const database = open(file, rests);
  if (database.prepare(TABLES).get().found !== 2) throw new Error("it has no such tables");
  for (const row of database.prepare(EVENTS).iterate(key)) {
    const line = Buffer.from(`${text(row)}\n`);
    total += line.length;
    if (total > TOTAL_MAX) end(UNREADABLE, `it has more than ${TOTAL_MAX} bytes`);
    lines.push(line);
  }
  database.close();
  return Buffer.concat(lines);
}

// A turn may begin or end meanwhile. Where one was killed, the log may want mending, which is done to a copy.
function look() {
  const rests = !existsSync(LOG);
  try {
    const found = read(path, rests);
    if (rests === !existsSync(LOG)) return found;
  } catch (error) {
    if (rests && !existsSync(LOG)) throw error;
  }
  return existsSync(LOG) ? read(copied(), false) : read(path, true);
}

function print(left) {
  while (left.length) left = left.subarray(writeSync(1, left));
}

try {
  const about = lstatSync(path, { throwIfNoEntry: false });
  if (!about) end(NOTHING);
  if (!about.isFile()) end(UNREADABLE, "its database is no plain file");
  const found = look();
  if (!found.length) end(NOTHING);
  print(found);
} catch (error) {
  end(UNREADABLE, `its database cannot be read: ${error.message}`);
}
