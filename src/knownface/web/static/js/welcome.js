// The wizard's service: its name follows the type until somebody names it; then its key, once.

const form = document.getElementById("first-service");

function suggested(type) {
  const word = type.toLowerCase();
  return form.dataset[`name${word[0].toUpperCase()}${word.slice(1)}`];
}

form?.addEventListener("change", (event) => {
  if (event.target.name !== "type") return;
  const { name, type } = form.elements;
  const names = [...type].map((choice) => suggested(choice.value));
  if (!name.value || names.includes(name.value)) name.value = suggested(type.value);
});

form?.addEventListener("sent", (event) => {
  event.preventDefault();
  const { service, key } = event.detail;
  const shown = document.getElementById("first-key");
  document.getElementById("first-key-value").textContent = key;
  document.getElementById("first-try").href = `/services/${service.id}/try`;
  document.getElementById("first-dashboard").href = `/services/${service.id}`;
  const head = form.closest(".gate-card");
  head.querySelector("h1").textContent = shown.dataset.title;
  head.querySelector("header p").textContent = shown.dataset.text;
  const steps = [...document.getElementById("steps").children];
  steps[2].removeAttribute("aria-current");
  steps[2].className = "done";
  steps[3].setAttribute("aria-current", "step");
  form.hidden = true;
  shown.hidden = false;
  shown.querySelector("[data-copy]").focus();
});
