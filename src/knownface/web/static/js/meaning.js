// What a similarity means: how many strangers would score as high.

import { has, number, text } from "./texts.js";

const LIKELY = 1e-4;
const POSSIBLE = 1e-2;

/** How sure one may be: "good", "unsure", "unlikely"; null where no rate is known. */
export function certainty(match) {
  const rate = match?.false_match_rate;
  if (rate === undefined) return null;
  if (rate <= LIKELY) return "good";
  return rate <= POSSIBLE ? "unsure" : "unlikely";
}

/** The false match rate in words; "" where none is known. `least` is the smallest measured one. */
export function meaning(match, least) {
  const rate = match?.false_match_rate;
  if (rate === undefined) return "";
  if (rate > 0.5) return text("try.meaning.most");
  const strangers = Number((1 / rate).toPrecision(2));
  if (strangers < 10) return text("try.meaning.many", { share: number(rate, { style: "percent" }) });
  return text(rate <= least ? "try.meaning.fewer" : "try.meaning.about", { strangers });
}

/** What the server said is wrong with a picture, in the visitor's language where we know it. */
export function reason(failure) {
  // 26 and the like say which value is wrong: only the server knows.
  for (const key of [`reason.code_${failure.code}`, `reason.status_${failure.status}`]) {
    if (has(key)) return text(key);
  }
  return failure.message;
}
