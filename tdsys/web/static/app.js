// What all pages share: the theme switch, keys on buttons, questions before what cannot be undone,
// and `tdsys.send` for scripts that post.
"use strict";

const tdsys = (() => {
  const proof = () => document.querySelector('meta[name="csrf-token"]').content;

  // POST a document as JSON; what comes back, or an Error with message, remedy and status.
  async function send(path, content = {}) {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": proof() },
      body: JSON.stringify(content),
      redirect: "error",
    }).catch(() => { throw failure(0, {}); });
    return settled(answer);
  }

  // POST a file as it is, telling how far it got.
  function upload(path, file, told = () => {}) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", path);
      request.setRequestHeader("Accept", "application/json");
      request.setRequestHeader("X-CSRF-Token", proof());
      request.upload.onprogress = (event) => told(event.loaded, event.total);
      request.onload = () => {
        let content = {};
        try { content = JSON.parse(request.responseText); } catch { /* told below */ }
        if (request.status < 400) resolve(content);
        else reject(failure(request.status, content));
      };
      request.onerror = () => reject(failure(0, {}));
      request.send(file);
    });
  }

  async function settled(answer) {
    const content = await answer.json().catch(() => ({}));
    if (!answer.ok) throw failure(answer.status, content);
    return content;
  }

  function failure(status, content) {
    const wrong = new Error(content.message || "the server did not answer");
    return Object.assign(wrong, { status, remedy: content.remedy || "try again in a moment", content });
  }

  // Say something in a corner; screen readers hear it.
  function say(text, kind = "good") {
    let place = document.getElementById("said");
    if (!place) {
      place = document.createElement("div");
      place.id = "said";
      place.setAttribute("role", "status");
      document.body.append(place);
    }
    const line = document.createElement("p");
    line.className = `notice ${kind}`;
    line.textContent = text;
    place.replaceChildren(line);
    clearTimeout(say.timer);
    say.timer = setTimeout(hush, 6000);
  }

  // What was said is about something that is gone.
  const hush = () => document.getElementById("said")?.replaceChildren();

  const THEMES = ["auto", "light", "dark"];
  function themes() {
    const button = document.querySelector("[data-theme-switch]");
    if (!button) return;
    const root = document.documentElement;
    const show = () => { button.querySelector("[data-theme-name]").textContent = root.dataset.theme || "auto"; };
    button.hidden = false;
    show();
    button.addEventListener("click", () => {
      const next = THEMES[(THEMES.indexOf(root.dataset.theme || "auto") + 1) % THEMES.length];
      if (next === "auto") delete root.dataset.theme; else root.dataset.theme = next;
      try { localStorage.setItem("theme", next); } catch { /* for this page only, then */ }
      show();
    });
  }

  // On a narrow screen the places are a strip: the one we are at is in sight.
  function place() {
    const here = document.querySelector('.top nav [aria-current="page"]');
    const strip = here?.closest("ul");
    if (strip) strip.scrollLeft = here.offsetLeft - strip.offsetLeft - (strip.clientWidth - here.offsetWidth) / 2;
  }

  const types = (node) => node instanceof Element && node.closest("input, textarea, select, [contenteditable]");

  // A key presses the visible button that shows it, unless somebody is typing.
  function keys() {
    document.addEventListener("keydown", (event) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      if (types(event.target)) return;
      const wanted = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const open = document.querySelector("dialog[open]") || document;
      const found = [...open.querySelectorAll("[data-key]")].find(
        (one) => one.dataset.key === wanted && !one.disabled && one.getClientRects().length,
      );
      if (!found) return;
      event.preventDefault();
      found.click();
    });
  }

  function questions() {
    document.addEventListener("submit", (event) => {
      const asked = event.target.dataset.confirm;
      if (asked && !window.confirm(asked)) event.preventDefault();
    });
  }

  // A filter that says nothing is not in the address.
  function addresses() {
    document.addEventListener("formdata", ({ target, formData }) => {
      if (target.method !== "get") return;
      for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
    });
  }

  document.addEventListener("DOMContentLoaded", () => { themes(); keys(); questions(); addresses(); place(); });
  return { send, upload, say, hush, types };
})();
