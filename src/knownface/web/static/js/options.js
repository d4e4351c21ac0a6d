// The form of parameters on "Try it": what it asks for, as a query.

const PLUGINS = "face_plugins";

/** The query that a form stands for: only what differs from what the server does by itself. */
export function queryOf(form) {
  const query = new URLSearchParams();
  const plugins = [...form.querySelectorAll(`[name=${PLUGINS}]:checked`)].map((one) => one.value);
  for (const input of form.elements) {
    const { name, type, value } = input;
    if (!name || name === PLUGINS || name === "threshold") continue;
    if (type === "checkbox") {
      const on = String(input.checked);
      if (on !== input.dataset.usual) query.set(name, on);
    } else if (value.trim() !== "" && value !== input.dataset.usual) query.set(name, value);
  }
  const kind = form.elements.threshold_kind?.value;
  query.delete("threshold_kind");
  if (kind && form.elements.threshold.value !== "") query.set(kind, form.elements.threshold.value);
  // Last, and with its commas as they are: it is what people look for.
  if (plugins.length) query.set(PLUGINS, plugins.join(","));
  return readable(query);
}

function readable(query) {
  query.toString = () =>
    [...query].map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value).replaceAll("%2C", ",")}`).join("&");
  return query;
}

/** Call `changed` a moment after the last change that can be used. */
export function onChange(form, changed) {
  let waiting;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    const kind = form.elements.threshold_kind;
    if (kind) {
      const threshold = form.elements.threshold;
      threshold.disabled = kind.value === "";
      if (threshold.disabled) threshold.value = "";
    }
    waiting = setTimeout(() => form.checkValidity() && changed(), 300);
  });
}
