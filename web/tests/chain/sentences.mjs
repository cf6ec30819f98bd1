// The sentences of ends.ts, and whether a page shows the right one.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { chain, endCard } from "./chain.mjs";

/** The sentences, as ends.ts has them: code to what happened. */
const source = readFileSync(new URL("../../src/ends.ts", import.meta.url), "utf8");
export const SENTENCES = new Map([...source.matchAll(/^ {2}(\w+): end\("\w+", \w+, "([^"]+)",\s*"([^"]+)"/gm)].map(([, code, what, why]) => [code, { what, why }]));
/** The codes that were shown. */
export const seen = new Set();

export async function ended(page, code) {
  const said = await endCard(page);
  const { what, why } = SENTENCES.get(String(code));
  assert.ok(said.includes(what), `${code}: no "${what}" in: ${said}`);
  assert.ok(said.includes(why), `${code}: no "${why}" in: ${said}`);
  assert.ok(said.includes(`code ${code}`), said);
  seen.add(code);
  console.log(said);
}

/** The page that shows a session by its address alone. */
export const given = (address, view = "terminal") => `${chain.origin}/view#url=${encodeURIComponent(address)}&view=${view}`;
