// Presses the buttons of a reply's page by key; without it they are clicked, or reached with Tab.
//
// button[data-press="KEY"]  is pressed by KEY, once a page, while [data-keys] is ticked
"use strict";

const keys = document.querySelector("[data-keys]");
let sent = false;

keys.closest("label").hidden = false;
keys.checked = localStorage.getItem("recert-label-keys") !== "off";
keys.addEventListener("change", () => localStorage.setItem("recert-label-keys", keys.checked ? "on" : "off"));

document.querySelectorAll("form[data-labels]").forEach((form) =>
  form.addEventListener("submit", (event) => { if (sent) event.preventDefault(); sent = true; }));

document.addEventListener("keydown", (event) => {
  if (!keys.checked || sent || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const button = document.querySelector(`button[data-press="${CSS.escape(event.key.toLowerCase())}"]`);
  if (!button) return;
  event.preventDefault();
  button.click();
});

// A page that comes back from the browser's memory may be sent again.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
