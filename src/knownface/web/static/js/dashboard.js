// The settings of a service: one of three kinds of threshold becomes what the API takes.

function chosen() {
  return document.querySelector("[data-threshold]:checked")?.dataset.threshold;
}

function show() {
  for (const part of document.querySelectorAll("#threshold [data-for]")) {
    part.hidden = part.dataset.for !== chosen();
    part.querySelector("input").disabled = part.hidden;
  }
}

document.addEventListener("change", (event) => {
  if (event.target.dataset.threshold) show();
});

document.addEventListener("sending", (event) => {
  if (event.target.id !== "settings" || !chosen()) return;
  const { strangers, similarity } = event.detail;
  event.detail.max_fmr = strangers === undefined ? null : 1 / Number(strangers);
  event.detail.similarity_threshold = similarity === undefined ? null : Number(similarity);
  for (const name of ["strangers", "similarity", "threshold"]) delete event.detail[name];
});

document.addEventListener("enhance", show);
show();
