// What scripts say: the texts of the page's language that the page itself carries.

const texts = JSON.parse(document.getElementById("texts").textContent);
const language = document.documentElement.lang;
const plain = new Intl.NumberFormat(language);

/** Write a number as this language does. */
export function number(value, options) {
  return options ? new Intl.NumberFormat(language, options).format(value) : plain.format(value);
}

/** Return the text of a key with its values filled in; with `n`, key.one or key.other. */
export function text(key, values = {}) {
  if ("n" in values && `${key}.other` in texts) key += values.n === 1 ? ".one" : ".other";
  const found = texts[key];
  if (found === undefined) throw new Error(`no text ${key}`);
  return found.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : String(value);
  });
}

export function has(key) {
  return key in texts;
}

const formats = {
  date: { dateStyle: "medium" },
  datetime: { dateStyle: "medium", timeStyle: "short" },
  // Days of statistics are those of UTC.
  day: { day: "numeric", month: "short", timeZone: "UTC" },
  month: { month: "short", timeZone: "UTC" },
};
const steps = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

/** Write a moment: "date", "datetime", "day", "month", or "relative" to now, which after a month is a date. */
export function moment(iso, format = "date") {
  const date = new Date(iso);
  if (format !== "relative") return new Intl.DateTimeFormat(language, formats[format]).format(date);
  const seconds = (date - Date.now()) / 1000;
  if (Math.abs(seconds) > 30 * 86400) return moment(iso, "date");
  const words = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  for (const [unit, size] of steps) {
    if (Math.abs(seconds) >= size) return words.format(Math.round(seconds / size), unit);
  }
  return words.format(0, "minute");
}
