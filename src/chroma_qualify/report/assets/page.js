// What a page does beside its charts: the switch of colours, copying, printing.
"use strict";
(() => {
  const root = document.documentElement;
  const kept = () => { try { return localStorage.getItem("chroma-qualify-theme"); } catch { return null; } };
  const keep = theme => { try { localStorage.setItem("chroma-qualify-theme", theme); } catch { /* not allowed here */ } };
  const themes = document.querySelector(".themes");
  const choose = theme => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme; else delete root.dataset.theme;
    document.dispatchEvent(new Event("themechange"));
  };
  themes.hidden = false;
  themes.addEventListener("change", event => { keep(event.target.value); choose(event.target.value); });
  const known = themes.querySelector(`input[value="${kept() === "light" || kept() === "dark" ? kept() : "auto"}"]`);
  known.checked = true;
  choose(known.value);

  for (const button of document.querySelectorAll("[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    button.hidden = false;
    button.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(source.textContent); button.textContent = "copied"; }
      catch { getSelection().selectAllChildren(source); button.textContent = "selected: copy it"; }
      setTimeout(() => { button.textContent = "copy"; }, 2000);
    });
  }
  // A link to something within closed details opens them.
  const open = () => { let at = document.getElementById(location.hash.slice(1)); while (at) { if (at.tagName === "DETAILS") at.open = true; at = at.parentElement; } };
  addEventListener("hashchange", open);
  open();

  let theme, closed = [];
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    closed = [...document.querySelectorAll("details:not([open])")].filter(each => !each.closest(".chart"));
    closed.forEach(each => { each.open = true; });
    dispatchEvent(new Event("printsize"));
  });
  addEventListener("afterprint", () => {
    if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
    closed.forEach(each => { each.open = false; });
    dispatchEvent(new Event("screensize"));
  });
})();
