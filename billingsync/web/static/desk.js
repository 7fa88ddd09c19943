// What the desk's pages do beyond links and forms. Everything works without it; with it, things are quick.
"use strict";
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => { const said = one("#said"); if (said) said.textContent = text; };
  const keysOff = () => localStorage.getItem("keys") === "off";

  // A form is sent once, and the button that sent it says that it is busy.
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button || event.defaultPrevented) return;
    if (button.getAttribute("aria-busy") === "true") { event.preventDefault(); return; }
    setTimeout(() => button.setAttribute("aria-busy", "true"), 150);
  });
  addEventListener("pageshow", () => all("[aria-busy=true]").forEach((each) => each.removeAttribute("aria-busy")));

  // Buttons that open a question, instead of leading to the page that asks it.
  document.addEventListener("click", (event) => {
    const asks = event.target.closest("[data-asks]");
    if (asks) {
      const dialog = document.getElementById(asks.dataset.asks);
      if (dialog) { event.preventDefault(); dialog.showModal(); const harmless = one("[data-close]", dialog); if (harmless) harmless.focus(); }
    }
    const closes = event.target.closest("[data-close]");
    if (closes) { event.preventDefault(); closes.closest("dialog").close(); }
    const keys = event.target.closest("[data-keys]");
    if (keys) { localStorage.setItem("keys", keysOff() ? "on" : "off"); showKeys(); }
  });
  const showKeys = () => all("[data-keys]").forEach((each) => {
    each.hidden = false; each.textContent = keysOff() ? "Switch keys on" : "Switch keys off";
  });

  // Two minutes before the session ends, whoever is reading is told.
  const ends = () => {
    const idle = Number(document.body.dataset.idle || 0), left = Number(document.body.dataset.left || 0);
    if (!idle) return;
    const at = Math.min(idle, left) - 120;
    setTimeout(() => {
      const dialog = document.createElement("dialog");
      dialog.setAttribute("aria-labelledby", "ending");
      const title = document.createElement("h2"); title.id = "ending"; title.textContent = "You are signed out in 2 minutes";
      const row = document.createElement("div"); row.className = "buttons";
      const stay = document.createElement("button"); stay.className = "act"; stay.textContent = left > idle ? "Stay signed in" : "Close";
      stay.addEventListener("click", () => { dialog.close(); if (left > idle) fetch("/me/still-here", { method: "POST" }).then(ends); });
      row.append(stay); dialog.append(title, row); document.body.append(dialog); dialog.showModal(); stay.focus();
    }, Math.max(at, 1) * 1000);
  };

  document.addEventListener("DOMContentLoaded", () => { showKeys(); ends(); });
  window.desk = { one, all, say, keysOff };
})();
