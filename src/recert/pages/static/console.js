// The console's script: what a page without scripts cannot do. Everything else is a link or a form.
//
// [data-live="URL"]    fetches URL every [data-every] seconds and puts what comes into the element, while it is in view
// [data-confirm="..."] a form that is sent after this question alone
"use strict";

function refresh(part) {
  const every = 1000 * Number(part.dataset.every || 2);
  const once = async () => {
    if (!document.hidden) {
      try {
        const got = await fetch(part.dataset.live, { headers: { accept: "text/html" } });
        if (got.redirected) { location.reload(); return; }
        if (got.ok) part.innerHTML = await got.text();
        part.classList.toggle("stale", !got.ok);
        if (got.headers.get("x-done")) { location.reload(); return; }
      } catch { part.classList.add("stale"); }
    }
    setTimeout(once, every);
  };
  setTimeout(once, every);
}

document.querySelectorAll("[data-live]").forEach(refresh);
document.querySelectorAll("form[data-confirm]").forEach((form) =>
  form.addEventListener("submit", (event) => { if (!confirm(form.dataset.confirm)) event.preventDefault(); }));
