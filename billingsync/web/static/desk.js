// What the desk's pages do beyond links and forms. Everything works without it; with it, things are quick.
"use strict";
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => { const said = one("#said"); if (said) said.textContent = text; };
  const keysOff = () => localStorage.getItem("keys") === "off";

  const dropNoscript = () => all("[data-noscript]").forEach((each) => each.remove());
  document.documentElement.classList.add("js");

  // After 150 ms whatever was used says that it is busy; what is on the page stays. A form is sent once.
  const busy = (control) => {
    const timer = setTimeout(() => control.setAttribute("aria-busy", "true"), 150);
    return () => { clearTimeout(timer); control.removeAttribute("aria-busy"); };
  };
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button || event.defaultPrevented) return;
    if (button.dataset.sent) { event.preventDefault(); return; }
    button.dataset.sent = "1";
    busy(button);
  });
  const asked = new WeakMap();
  document.addEventListener("htmx:before:request", (event) => {
    if (event.target.matches("a, button, input, select, form")) asked.set(event.target, busy(event.target));
  });
  document.addEventListener("htmx:finally:request", (event) => { const done = asked.get(event.target); if (done) done(); });

  // Who was signed out meanwhile signs in here, and what was begun goes on where it stood.
  const signIn = async (again) => {
    if (one("#sign-in")) return;
    const dialog = document.createElement("dialog"), title = document.createElement("h2");
    dialog.id = "sign-in"; title.id = "sign-in-title"; title.textContent = "You were signed out";
    dialog.setAttribute("aria-labelledby", "sign-in-title"); dialog.append(title); document.body.append(dialog);
    dialog.addEventListener("close", () => dialog.remove());
    const read = async (answer) => new DOMParser().parseFromString(await answer.text(), "text/html");
    const page = await read(await fetch("/login?next=" + encodeURIComponent(location.pathname + location.search)));
    dialog.append(...all("#main > :not(.brand, h1)", page));
    const form = one("form", dialog), says = document.createElement("p");
    says.className = "problem"; says.hidden = true; says.setAttribute("role", "alert"); title.after(says);
    if (form) form.addEventListener("submit", async (event) => {
      event.preventDefault(); event.stopPropagation();
      const answer = await fetch("/login", { method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "manual" });
      if (answer.type === "opaqueredirect") { dialog.close(); again(); return; }
      const wrong = one("#says", await read(answer));
      says.textContent = wrong ? wrong.textContent : "Signing in did not work. Try again."; says.hidden = false;
    });
    dialog.showModal();
  };
  document.addEventListener("htmx:before:response", (event) => {
    const control = event.target;
    if (event.detail.ctx.response.status !== 401) return;
    event.preventDefault();
    signIn(() => (control.matches("a, button") ? control.click() : control.dispatchEvent(new Event(control.type === "search" ? "search" : "input", { bubbles: true }))));
  });
  addEventListener("pageshow", () => all("[aria-busy=true], [data-sent]").forEach((each) => { each.removeAttribute("aria-busy"); delete each.dataset.sent; }));

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

  // Choosing a month goes there at once; the button is for who has no script.
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-goes]");
    if (form) form.requestSubmit();
  });

  // Rows that open: what is inside is fetched once, and only then.
  const detail = (row) => { const next = row.nextElementSibling; return next && next.classList.contains("more") ? next : null; };
  const mark = (row, open) => {
    row.classList.toggle("on", open);
    const link = one("[data-open]", row);
    if (link) link.setAttribute("aria-expanded", String(open));
  };
  const toggle = async (row) => {
    const link = one("[data-open]", row), there = detail(row);
    if (!link) return;
    if (there) { there.remove(); mark(row, false); return; }
    if (row.dataset.loading) return;
    row.dataset.loading = "1";
    const done = busy(link);
    try {
      const answer = await fetch(link.dataset.open, { headers: { "HX-Request": "true" } });
      if (answer.status === 401) { signIn(() => toggle(row)); return; }
      const html = await answer.text();
      if (!detail(row)) {
        const holder = document.createElement("template");
        holder.innerHTML = answer.ok ? html : '<tr class="more"><td>' + html + "</td></tr>";
        row.after(holder.content);
        mark(row, true);
        document.dispatchEvent(new CustomEvent("desk:opened", { detail: row }));
      }
    } finally { delete row.dataset.loading; done(); }
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-open]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    toggle(link.closest("tr"));
  });

  // Keys, on pages that have rows. Never with Ctrl, Alt or Meta, never while somebody types.
  const rows = () => all("[data-rows] tbody tr.r, [data-rows] tr.more tbody tr[tabindex]").filter((row) => !row.hidden);
  const here = () => { const row = document.activeElement && document.activeElement.closest("[data-rows] tr[tabindex]"); return row || null; };
  const focusRow = (row) => {
    if (!row) return;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
    const name = one("th[scope=row]", row);
    say(name ? name.innerText : "");
  };
  const step = (by) => {
    const list = rows(), at = list.indexOf(here());
    focusRow(at < 0 ? list[by > 0 ? 0 : list.length - 1] : list[Math.min(Math.max(at + by, 0), list.length - 1)]);
  };
  const nextThatNeeds = () => {
    const list = rows(), at = list.indexOf(here());
    focusRow(list.slice(at + 1).find((row) => "needs" in row.dataset) || list.find((row) => "needs" in row.dataset));
  };
  const pressed = (selector) => { const found = all(selector).find((each) => !each.closest("[hidden]")); if (found) { found.click(); return true; } return false; };
  const inRow = (key) => { const row = here(); const found = row && (one('[data-key="' + key + '"]', row) || (detail(row) && one('[data-key="' + key + '"]', detail(row)))); if (found) found.click(); return Boolean(found); };
  const GO = { r: "/ready", h: "/holds", l: "/reconcile", k: "/cards", e: "/expiring", c: "/clients", p: "/products", u: "/runs", m: "/months", i: "/imports", a: "/activity", s: "/status" };
  let went = 0;
  const KEYS = {
    j: ["next row", () => step(1)], k: ["row before", () => step(-1)],
    ArrowDown: ["", () => step(1)], ArrowUp: ["", () => step(-1)],
    o: ["open or close", () => here() && toggle(here())], Enter: ["open or close", () => here() && toggle(here())],
    n: ["next that needs somebody", nextThatNeeds],
    "/": ["filter", () => { const field = one("input[type=search]"); if (field) { field.focus(); field.select(); } }],
    "[": ["month before", () => pressed("[data-month=before]")], "]": ["month after", () => pressed("[data-month=after]")],
  };
  const ROW = { x: "tick", a: "approve", d: "dismiss", m: "map", e: "explain" }, PAGE = { p: "post (asks)", u: "update plan" };
  document.addEventListener("keydown", (event) => {
    if (keysOff() || event.ctrlKey || event.altKey || event.metaKey || one("dialog[open]")) return;
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (typing) { if (event.key === "Escape") typing.blur(); return; }
    if (went && Date.now() - went < 1500) {
      went = 0;
      const to = GO[event.key];
      if (to && one('.side a[href="' + to + '"]')) { event.preventDefault(); location.href = to; }
      return;
    }
    if (event.key === "g") { went = Date.now(); return; }
    if (event.key === "?") { event.preventDefault(); help(); return; }
    const onControl = event.target.closest("a, button, summary, input");
    if (event.key === "Enter" && onControl) return;
    if (event.key === "X") { event.preventDefault(); tickRange(); return; }
    if (ROW[event.key]) { if (inRow(event.key) || (event.key === "a" && tickAllCards())) event.preventDefault(); return; }
    if (PAGE[event.key]) { if (pressed('[data-key="' + event.key + '"]')) event.preventDefault(); return; }
    const known = KEYS[event.key];
    if (known && (one("[data-rows]") || "[]/".includes(event.key))) { event.preventDefault(); known[1](); }
  });
  const help = () => {
    const dialog = document.createElement("dialog"), list = document.createElement("dl"), title = document.createElement("h2"), row = document.createElement("div"), close = document.createElement("button");
    dialog.setAttribute("aria-labelledby", "keys-title"); title.id = "keys-title"; title.textContent = "Keys on this page";
    const add = (key, words) => { const dt = document.createElement("dt"), kbd = document.createElement("kbd"), dd = document.createElement("dd"); kbd.textContent = key; dt.append(kbd); dd.textContent = words; list.append(dt, dd); };
    if (one("[data-rows]")) Object.entries(KEYS).forEach(([key, [words]]) => { if (words && (!"[]".includes(key))) add(key, words); });
    Object.entries(ROW).forEach(([key, words]) => { if (one('[data-key="' + key + '"]')) add(key, words); });
    Object.entries(PAGE).forEach(([key, words]) => { if (one('[data-key="' + key + '"]')) add(key, words); });
    Object.entries(GO).forEach(([key, to]) => { const link = one('.side a[href="' + to + '"]'); if (link) add("g " + key, link.firstChild.textContent.trim()); });
    row.className = "buttons"; close.textContent = "Close"; close.setAttribute("data-close", "");
    row.append(close); dialog.append(title, list, row); document.body.append(dialog);
    dialog.addEventListener("close", () => dialog.remove()); dialog.showModal(); close.focus();
  };

  // Ticks on Ready to invoice: what is unticked waits. The sums are for the eye only; the plan is made by the server.
  const dock = () => one(".dock[data-sums]");
  const asideKey = () => "aside:" + dock().dataset.digest;
  const readAside = () => JSON.parse(sessionStorage.getItem(asideKey()) || "{}");
  const amount = (minor, currency, digits) => {
    const shape = new Intl.NumberFormat(one("[data-locale]").dataset.locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
    return shape.format(minor / 10 ** digits).replace("-", "\u2212") + " " + currency;
  };
  const tickOf = (box) => ({ c: box.dataset.currency, m: Number(box.dataset.minor), k: Number(box.dataset.cost) });
  const place = (box) => box.dataset.of || box.closest("tr").dataset.nth;
  const tell = (parts) => {
    const cell = document.createDocumentFragment();
    parts.forEach((text, nth) => {
      if (!nth) { cell.append(text); return; }
      const small = document.createElement("small"); small.textContent = " and " + text; cell.append(small);
    });
    return cell;
  };
  const showAside = () => {
    const bar = dock();
    if (!bar) return;
    const kept = readAside(), list = JSON.parse(bar.dataset.sums), gone = {};
    const sums = Object.fromEntries(list.map(([code, ...rest]) => [code, rest]));
    Object.values(kept).forEach((client) => (client.all ? [client.all] : Object.values(client)).forEach((each) => {
      const sum = gone[each.c] || (gone[each.c] = [0, 0]); sum[0] += each.m; sum[1] += each.k;
    }));
    const any = Object.keys(kept).length > 0, part = (name) => one('[data-part="' + name + '"]', bar);
    const left = list.filter(([, post]) => post).map(([code, post, , digits]) => amount(post - (gone[code] || [0])[0], code, digits));
    if (left.length && (any || bar.dataset.live)) part("post").replaceChildren(tell(left));
    if (any) bar.dataset.live = "1";
    part("aside").hidden = !any;
    one("dd", part("aside")).replaceChildren(tell(Object.entries(gone).map(([code, [minor]]) => amount(minor, code, (sums[code] || [0, 0, 2])[2]))));
    const main = sums[bar.dataset.main], margin = part("margin");
    if (margin && main && bar.dataset.live) {
      const off = gone[bar.dataset.main] || [0, 0], price = main[0] - off[0];
      margin.textContent = price > 0 ? new Intl.NumberFormat(bar.dataset.locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 }).format((price - main[1] + off[1]) * 100 / price) + " %" : "\u2014";
    }
    part("update").hidden = !any;
    all('[data-key="p"]', bar).forEach((each) => { each.hidden = any; });
    all(".ready tr.r").forEach((row) => {
      const client = kept[row.dataset.nth], box = one("input.all", row);
      if (!box) return;
      box.checked = !client; box.indeterminate = Boolean(client && !client.all);
      row.classList.toggle("aside", Boolean(client && client.all));
    });
    all('input[name="keep"]').forEach((box) => {
      const client = kept[place(box)];
      box.checked = !(client && (client.all || client[box.value]));
      box.closest("tr").classList.toggle("aside", !box.checked);
    });
    return left.join(" and ");
  };
  const setTick = (box, on) => {
    const kept = readAside(), nth = place(box), lines = all('input[name="keep"][data-of="' + nth + '"]');
    if (box.name === "keep") {
      let client = kept[nth] || {};
      if (client.all) client = Object.fromEntries(lines.map((each) => [each.value, tickOf(each)]));
      if (on) delete client[box.value]; else client[box.value] = tickOf(box);
      const row = one('.ready tr.r[data-nth="' + nth + '"] input.all');
      kept[nth] = Object.keys(client).length === lines.length && row ? { all: tickOf(row) } : client;
      if (!Object.keys(client).length) delete kept[nth];
    } else if (on) delete kept[nth]; else kept[nth] = { all: tickOf(box) };
    sessionStorage.setItem(asideKey(), JSON.stringify(kept));
    say((on ? "Ticked. " : "Set aside. ") + "To post " + (showAside() || "nothing"));
  };
  let lastTick = null;
  document.addEventListener("change", (event) => {
    const box = event.target.closest(".ready input.all, .ready input[name=keep]");
    if (box && dock()) { setTick(box, box.checked); lastTick = box; }
  });
  const tickRange = () => {
    const boxes = all(".ready input.all, #ticked input[name=card]"), row = here(), to = row && boxes.indexOf(one("td.tick input", row)), from = boxes.indexOf(lastTick);
    if (to === null || to < 0 || from < 0) return;
    const on = lastTick.checked, some = boxes.slice(Math.min(from, to), Math.max(from, to) + 1).filter((box) => box.checked !== on);
    some.forEach((box) => { if (box.name === "card") box.checked = on; else setTick(box, on); });
    showCards();
  };

  // Cards as a list: how many are ticked, and their sums, what comes and what goes apart.
  const cardBoxes = () => all("#ticked input[name=card]");
  const showCards = () => {
    const part = one('[data-part="cards"]');
    if (!part) return;
    const ticked = cardBoxes().filter((box) => box.checked), sums = {};
    ticked.forEach(({ dataset: { currency, minor, digits } }) => {
      if (!currency) return;
      const sum = sums[currency] || (sums[currency] = [0, 0, Number(digits)]);
      if (minor) sum[minor.startsWith("-") ? 1 : 0] += Number(minor);
    });
    const texts = Object.entries(sums).map(([code, [more, less, digits]]) => "+" + amount(more, code, digits) + " and " + (less ? "" : "\u2212") + amount(less, code, digits));
    part.textContent = ticked.length ? [ticked.length, ...texts].join(", ") : "none";
    say(ticked.length + " ticked. " + texts.join(", "));
  };
  const tickAllCards = () => {
    const boxes = cardBoxes(), on = boxes.some((box) => !box.checked);
    boxes.forEach((box) => { box.checked = on; });
    if (boxes.length) showCards();
    return boxes.length > 0;
  };
  document.addEventListener("change", (event) => {
    const box = event.target.closest("#ticked input[name=card]");
    if (box) { lastTick = box; showCards(); }
  });

  // Shares add up while they are typed; the server has the last word.
  const showShares = (field) => {
    const fields = all("[data-adds]", field.form), told = one('[data-part="adds"]', field.form);
    const sum = Math.round(fields.reduce((so, each) => so + (Number(each.value) || 0), 0) * 1e6) / 1e6, whole = Number(field.dataset.adds);
    told.textContent = sum ? sum + " of " + whole + " percent" + (sum === whole ? ", it adds up" : "") : "";
  };
  document.addEventListener("input", (event) => { const field = event.target.closest("[data-adds]"); if (field) showShares(field); });

  // A file may be dropped where it may be chosen.
  ["dragover", "drop"].forEach((kind) => document.addEventListener(kind, (event) => {
    const place = event.target.closest("[data-drop]"), field = place && one("input[type=file]", place);
    if (!field) return;
    event.preventDefault();
    if (kind === "drop" && event.dataTransfer.files.length) { field.files = event.dataTransfer.files; say(event.dataTransfer.files[0].name); }
  }));
  document.addEventListener("click", (event) => {
    if (!event.target.closest('[data-part="tick-all"]')) return;
    sessionStorage.removeItem(asideKey()); showAside(); say("All ticked");
  });
  document.addEventListener("submit", (event) => {
    const form = event.target.closest('form[data-part="update"]');
    if (!form) return;
    all('input[name="aside"]', form).forEach((each) => each.remove());
    Object.entries(readAside()).forEach(([nth, client]) => (client.all ? [nth] : Object.keys(client).map((line) => nth + ":" + line)).forEach((value) => {
      const field = document.createElement("input"); field.type = "hidden"; field.name = "aside"; field.value = value; form.append(field);
    }));
  });
  ["desk:opened", "htmx:after:swap", "htmx:afterSwap"].forEach((name) => document.addEventListener(name, () => { dropNoscript(); showAside(); }));

  // A run as it happens.
  const listen = () => {
    const card = one("[data-events]");
    if (!card) return;
    const part = (name) => one('[data-part="' + name + '"]', card), body = one("#postings");
    const source = new EventSource(card.dataset.events + "?after=" + card.dataset.settled);
    source.addEventListener("posting", (event) => {
      const told = JSON.parse(event.data), bar = one("progress", card), row = document.createElement("tr");
      if (bar) bar.value = told.nth;
      if (part("settled")) part("settled").textContent = told.settled;
      if (part("sums")) part("sums").textContent = told.sums;
      [["th", "client", ""], ["td", "invoice", "Invoice"], ["td", "action", "What"], ["td", "amount", "Amount"], ["td", "state", "State"]].forEach(([kind, name, label]) => {
        const cell = document.createElement(kind); cell.textContent = told.row[name];
        if (kind === "th") cell.scope = "row"; else cell.dataset.name = label;
        if (name === "amount") cell.className = "num";
        row.append(cell);
      });
      if (body) body.prepend(row);
    });
    source.addEventListener("stage", (event) => { const words = JSON.parse(event.data).words; if (words && part("words")) part("words").textContent = words; });
    source.addEventListener("done", () => { source.close(); location.reload(); });
  };

  document.addEventListener("DOMContentLoaded", () => {
    showKeys(); ends(); listen();
    dropNoscript(); showAside();
    if (cardBoxes().some((box) => box.checked)) showCards();
    const opened = location.hash && one(location.hash + ".r");
    if (opened && detail(opened)) mark(opened, true);
  });
})();
