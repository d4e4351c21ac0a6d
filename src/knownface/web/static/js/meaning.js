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

/**
 * What the server refused, in the visitor's language. Where only the server knows what is wrong (a
 * value that cannot be used), its words are part of the text.
 */
export function refusal({ code, status, retryAfter }, message) {
  if (status === 429) return text("script.too_many", { n: Math.max(1, retryAfter ?? 60) });
  // A wrong password has one number, whether one signs in with it or changes it.
  for (const key of [`script.code.${code}_${status}`, `script.code.${code}`, `script.status.${status}`]) {
    if (has(key)) return text(key, { message });
  }
  return message;
}

/** What the server said is wrong with a picture, in the visitor's language where we know it. */
export function reason(failure) {
  for (const key of [`reason.code_${failure.code}`, `reason.status_${failure.status}`]) {
    if (has(key)) return text(key);
  }
  return refusal(failure, failure.message);
}
