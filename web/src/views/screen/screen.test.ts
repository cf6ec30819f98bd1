import assert from "node:assert/strict";
import { test } from "node:test";
import { keysymOf, named } from "./keys.js";
import { LAYOUT_NAMES, placeOf } from "./layouts.js";
import { plainName } from "./text.js";

test("every layout has every character of ASCII, each at one place", () => {
  for (const layout of LAYOUT_NAMES) {
    const places = new Set<string>();
    for (let point = 0x20; point < 0x7f; point += 1) {
      const character = String.fromCharCode(point);
      const place = placeOf(character, layout);
      assert.ok(place, `${layout} lacks ${character}`);
      places.add(`${place.code} ${place.shift} ${place.altGraph}`);
    }
    assert.equal(places.size, 0x7f - 0x20, layout);
  }
});

test("known places", () => {
  const at = (character: string, layout: (typeof LAYOUT_NAMES)[number]): string => {
    const place = placeOf(character, layout);
    return place ? [place.code, place.shift && "shift", place.altGraph && "altgr", place.dead && "dead"].filter(Boolean).join(" ") : "";
  };
  assert.equal(at("@", "us"), "Digit2 shift");
  assert.equal(at("@", "gb"), "Quote shift");
  assert.equal(at("@", "de"), "KeyQ altgr");
  assert.equal(at("@", "fr"), "Digit0 altgr");
  assert.equal(at("z", "de"), "KeyY");
  assert.equal(at("a", "fr"), "KeyQ");
  assert.equal(at("1", "fr"), "Digit1 shift");
  assert.equal(at("^", "de"), "Backquote dead");
  assert.equal(at("^", "fr"), "Digit9 altgr");
  assert.equal(at("\\", "de"), "Minus altgr");
  assert.equal(at("-", "de"), "Slash");
  assert.equal(at("|", "gb"), "IntlBackslash shift");
  assert.equal(at("€", "us"), "");
});

test("keysyms", () => {
  assert.equal(keysymOf("a"), 0x61);
  assert.equal(keysymOf("é"), 0xe9);
  assert.equal(keysymOf("€"), 0x10020ac);
  assert.equal(named("F7")?.keysym, 0xffc4);
  assert.equal(named("F13"), undefined);
  assert.equal(named("constructor"), undefined);
});

test("a name stays on its line, and turns nothing around", () => {
  assert.equal(plainName("a\u202egnp.exe\n\u0000\u2066<b>"), "a gnp.exe <b>");
  assert.equal(plainName("  "), "");
  assert.equal([...plainName("🙂".repeat(300))].length, 200);
});
