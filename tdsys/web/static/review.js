// The review page: asks for one example after another, shows it by making nodes, sends decisions.
"use strict";

(() => {
  const page = document.getElementById("review");
  const at = (id) => document.getElementById(id);
  const wish = { domain: page.dataset.domain, topic: page.dataset.topic, desk: page.dataset.desk };
  const EXTEND_EVERY = 60000;
  const DRAFT_AFTER = 400;
  let item = null;
  let ends = 0;
  let extended = 0;
  let active = 0;
  let busy = false;
  let editing = false;
  let drafting = 0;
  let undoToken = "";

  function make(tag, given = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(given)) {
      if (name === "class") node.className = value; else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }
  const untrusted = (text, math = true) => make("div", { class: "untrusted", dir: "auto", ...(math ? { "data-math": "" } : {}) }, text);

  // What came back: the next example, or a state in its place.
  function show(answer) {
    if (answer.progress) progress(answer.progress);
    if (answer.item) fill(answer.item); else state("Nothing waits for you", nothing(answer.progress));
  }

  // Why there is nothing: newcomers wonder, and so does whoever reads that something waits.
  function nothing(progress) {
    if (progress?.waiting) return "What waits is in somebody else's hands just now, was decided by you, or was skipped by you. Look again in a while.";
    return "Examples come here when a check or the judge doubts them, when somebody asks for a look, or by lot. Whatever comes next is shown when you look again.";
  }

  function progress({ waiting, pace }) {
    const words = [`${waiting}${waiting >= 1000 ? "+" : ""} waiting`];
    if (pace.decided) words.push(`${pace.decided} decided this hour, about ${Math.max(1, Math.round(pace.median))} s each`);
    at("progress").textContent = words.join(" · ");
  }

  function state(title, text, kind = "") {
    item = null;
    at("item").hidden = true;
    at("timer").hidden = true;
    at("again").hidden = false;
    at("state").replaceChildren(make("div", { class: `empty ${kind}` }, make("p", { class: "empty-title" }, title), make("p", {}, text)));
    at("state").dataset.state = title;
    delete at("example").dataset.example;
  }

  function fill(next) {
    const isFirst = !item;
    item = next;
    ends = Date.now() + 1000 * next.left;
    extended = Date.now();
    at("state").replaceChildren();
    at("again").hidden = true;
    const [domain, topic, difficulty] = next.place;
    at("place").textContent = `${domain} · ${topic} · ${difficulty}`;
    at("spoken").textContent = isFirst ? "" : `next: ${at("place").textContent}`;
    at("why").replaceChildren(...notes(next).map((text) => make("li", {}, text)));
    at("fields").replaceChildren(...next.fields.map(field), ...next.diffs.flatMap(diff));
    at("checks").replaceChildren(...(next.checks.length ? next.checks.map(check) : [make("li", { class: "soft" }, "nothing was checked yet")]));
    at("provenance").replaceChildren(...next.provenance.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
    at("history").replaceChildren(...next.history.map((one) => make("div", { class: "review-similar" }, make("strong", {}, one.what), ` ${one.at}`, untrusted(one.told, false))));
    score();
    leave();
    at("note").value = next.draft?.note || "";
    at("item").hidden = false;
    at("example").dataset.example = next.id;
    tdsys.hush();
    // Whoever had scrolled down would begin in the middle of the next one.
    if (at("item").getBoundingClientRect().top < 0) at("item").scrollIntoView({ block: "start" });
    tdsysMath.renderAll(at("item"));
    if (next.draft?.edit) edit(next.draft.edit);
    tick();
    similar(next.id);
  }

  function notes(next) {
    const found = [...next.why];
    if (next.for_curator) found.unshift("a curator decides");
    if (next.needs > 1 && !next.for_curator) found.push("two people decide this one alone");
    return found;
  }

  const field = ({ name, side, title, text }) =>
    make("section", { class: `review-field is-${side === "outputs" && name === "problem" ? "problem" : side}` }, make("h3", {}, title), untrusted(text));

  const check = ({ name, outcome, evidence }) =>
    make("li", {}, make("span", { class: `badge is-${outcome}` }, outcome), ` ${name.replaceAll("_", " ")}`, ...(evidence ? [untrusted(evidence, false)] : []));

  const TAGS = { kept: "span", gone: "del", new: "ins" };
  const diff = (edits) => edits.map(({ field: name, pieces }) =>
    make("section", { class: "review-field" }, make("h3", {}, `edited: ${name}`),
      make("div", { class: "untrusted review-diff", dir: "auto" }, ...pieces.flatMap(([kind, text]) => [make(TAGS[kind], {}, text), " "]))));

  const isHidden = () => { try { return localStorage.getItem("review-hide") === "1"; } catch { return false; } };

  function score() {
    at("hide").firstChild.textContent = isHidden() ? "Show scores " : "Hide scores ";
    at("hide").hidden = item.hidden || !item.score;
    if (item.hidden) return at("score").replaceChildren(make("p", { class: "soft" }, "hidden until you decide"));
    if (!item.score) return at("score").replaceChildren(make("p", { class: "soft" }, "unscored"));
    if (isHidden()) return at("score").replaceChildren(make("p", { class: "soft" }, "hidden, as you chose"));
    const told = make("p", { class: "soft" }, item.score.told);
    if (item.score.simulated) told.append(" ", make("span", { class: "badge is-simulated" }, "simulated"));
    at("score").replaceChildren(...item.score.dimensions.map((one) =>
      make("div", { class: "review-score" }, make("p", {}, make("span", {}, one.name), make("strong", {}, one.value.toFixed(2))), untrusted(one.rationale, false), ...doubts(one.doubts))), told);
    return undefined;
  }

  // A rubric may have fifty criteria: the first that do not hold are shown, the rest on demand.
  const FIRST_DOUBTS = 5;
  function doubts(all) {
    const list = (some) => make("ul", { class: "review-doubts" }, ...some.map((doubt) => make("li", {}, doubt)));
    if (all.length <= FIRST_DOUBTS + 1) return [list(all)];
    const rest = all.slice(FIRST_DOUBTS);
    return [list(all.slice(0, FIRST_DOUBTS)), make("details", {}, make("summary", {}, `and ${rest.length} more`), list(rest))];
  }

  async function similar(id) {
    at("similar").replaceChildren(make("p", { class: "soft" }, "looking…"));
    // Whoever decides at once does not wait for it, nor does the server.
    await new Promise((done) => { setTimeout(done, 300); });
    if (item?.id !== id) return;
    const { similar: found } = await tdsys.send(`/review/${id}/similar`).catch(() => ({ similar: [] }));
    if (item?.id !== id) return;
    const near = found.map((one) => make("div", { class: "review-similar" }, make("span", { class: "badge" }, `${Math.round(100 * one.share)} % alike`), untrusted(one.problem)));
    at("similar").replaceChildren(...(near.length ? near : [make("p", { class: "soft" }, "nothing here is like it")]));
    tdsysMath.renderAll(at("similar"));
  }

  // One request at a time: a key that is pressed twice decides once.
  async function ask(path, content) {
    if (busy) return false;
    busy = true;
    clearTimeout(drafting);
    page.setAttribute("aria-busy", "true");
    try {
      const answer = await tdsys.send(path, { ...wish, ...content });
      show(answer);
      if (answer.said?.act === "undo") tdsys.say("taken back; here it is again");
      return true;
    } catch (wrong) {
      failed(wrong);
      return Boolean(wrong.status);
    } finally {
      busy = false;
      page.removeAttribute("aria-busy");
    }
  }

  function failed(wrong) {
    if (wrong.status === 409 && !editing && item) {
      if (!/took back|taken back|happened|looking at/.test(wrong.message)) return state(sentence(wrong.message), sentence(wrong.remedy), "conflict");
    }
    // The page is still empty: what is said in passing would leave nothing to look at, or to press.
    if (!item && !at("state").dataset.state) return state(sentence(wrong.message), sentence(wrong.remedy), "bad");
    const told = `${wrong.message} — ${wrong.remedy}`;
    const place = editing && at("editing").querySelector("[data-wrong]");
    if (place) place.replaceChildren(make("div", { class: "notice bad", role: "alert" }, told));
    else tdsys.say(told, "bad");
    return undefined;
  }
  const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

  function decide(act, more = {}) {
    if (!item) return;
    // What was typed would be gone, and what it was to mend decided as it is.
    if (act !== "edit" && isTyped()) return tdsys.say("your edit is not saved — check and save it, or leave it first", "bad");
    ask("/review/decide", { id: item.id, token: item.token, version: item.version, act, detail: at("note").value, ...more });
    return undefined;
  }

  async function undo() {
    undoToken = undoToken || crypto.randomUUID();
    // What got no answer is sent again as the same request: it may have been done.
    if (await ask("/review/undo", { token: undoToken })) undoToken = "";
  }

  // Editing: each field as text, a list one item a line; what is neither stays as it is.
  const isEditable = ({ raw }) => typeof raw === "string" || (Array.isArray(raw) && raw.every((one) => typeof one === "string"));

  function edit(typed = {}) {
    if (!item) return;
    editing = true;
    const form = at("editing");
    form.replaceChildren(
      ...item.fields.filter(isEditable).map(({ side, name, title, raw }) => {
        const text = make("textarea", { "data-side": side, "data-name": name });
        text.defaultValue = (Array.isArray(raw) ? raw.join("\n") : raw).replace(/\r\n?/g, "\n");
        text.value = typed[`${side}.${name}`] ?? text.defaultValue;
        text.rows = Math.min(14, Math.max(name === "problem" || name === "solution" ? 5 : 2, text.value.split("\n").length + 1));
        return make("label", {}, Array.isArray(raw) ? `${title}, one a line` : title, text);
      }),
      make("div", { "data-wrong": "" }),
      make("div", { class: "row" }, make("button", { type: "submit", class: "primary", id: "save" }, "Check and save"), make("button", { type: "button", id: "leave" }, "Leave")),
    );
    at("leave").addEventListener("click", () => { leave(); saveDraft(); at("edit").focus(); });
    form.hidden = false;
    at("fields").hidden = true;
    form.querySelector("textarea")?.focus();
  }

  function leave() {
    editing = false;
    at("editing").hidden = true;
    at("editing").replaceChildren();
    at("fields").hidden = false;
  }

  const isTyped = () => editing && [...at("editing").querySelectorAll("textarea")].some((one) => one.value !== one.defaultValue);
  const typedEdit = () => Object.fromEntries([...at("editing").querySelectorAll("textarea")].map((one) => [`${one.dataset.side}.${one.dataset.name}`, one.value]));

  function save() {
    const content = { inputs: {}, outputs: {} };
    const typed = typedEdit();
    for (const { side, name, raw } of item.fields) {
      const text = typed[`${side}.${name}`];
      if (text === undefined) content[side][name] = raw;
      else content[side][name] = Array.isArray(raw) ? text.split("\n").filter((line) => line.trim()) : text;
    }
    decide("edit", { edit: content });
  }

  function saveDraft() {
    clearTimeout(drafting);
    if (!item) return;
    const { token } = item;
    const content = { note: at("note").value, ...(editing ? { edit: typedEdit() } : {}) };
    drafting = setTimeout(async () => {
      if (item?.token !== token || busy) return;
      const answer = await tdsys.send("/review/draft", { token, content }).catch(() => ({}));
      if (answer.kept) at("note").dataset.saved = String(Number(at("note").dataset.saved || 0) + 1);
    }, DRAFT_AFTER);
  }

  // The lease: it is extended while somebody is there, and says when it ran out.
  function tick() {
    if (!item) return;
    const left = Math.max(0, Math.round((ends - Date.now()) / 1000));
    at("left").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    at("timer").hidden = false;
    at("timer").classList.toggle("late", left < 60);
    if (!left) state("Your time with this example ran out", "Nothing was changed; what you typed is kept. It is back in the queue.", "expired");
    else if (active > extended && Date.now() - extended > EXTEND_EVERY) extend();
  }

  async function extend() {
    extended = Date.now();
    const { token } = item;
    const answer = await tdsys.send("/review/extend", { token }).catch(() => null);
    if (!answer || item?.token !== token) return;
    if (answer.kept) ends = Date.now() + 1000 * answer.left;
    else state("This example is in somebody else's hands now", "Nothing was changed. Take the next one.", "conflict");
  }

  const close = (id) => at(id).close();
  function listen() {
    for (const act of ["approve", "skip", "flag"]) at(act).addEventListener("click", () => decide(act));
    at("reject").addEventListener("click", () => item && !at("reasons").open && at("reasons").showModal());
    for (const one of at("reasons").querySelectorAll("[data-reason]")) {
      one.addEventListener("click", () => { close("reasons"); decide("reject", { reason: one.dataset.reason }); });
    }
    at("reasons-close").addEventListener("click", () => close("reasons"));
    at("keys").addEventListener("click", () => at("sheet").showModal());
    at("sheet-close").addEventListener("click", () => close("sheet"));
    at("edit").addEventListener("click", () => (editing ? at("editing").querySelector("textarea")?.focus() : edit()));
    at("undo").addEventListener("click", undo);
    at("undo-last").addEventListener("click", undo);
    at("look").addEventListener("click", () => ask("/review/next"));
    at("hide").addEventListener("click", () => {
      try { localStorage.setItem("review-hide", isHidden() ? "0" : "1"); } catch { /* not kept, then */ }
      score();
    });
    at("editing").addEventListener("submit", (event) => { event.preventDefault(); save(); });
    at("editing").addEventListener("input", saveDraft);
    at("note").addEventListener("input", saveDraft);
    page.addEventListener("keydown", (event) => {
      if (!tdsys.types(event.target)) return;
      if (event.key === "Escape") event.target.blur();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && editing) { event.preventDefault(); save(); }
    });
    for (const kind of ["keydown", "pointerdown", "wheel"]) document.addEventListener(kind, () => { active = Date.now(); }, { passive: true });
    setInterval(tick, 1000);
  }

  document.addEventListener("DOMContentLoaded", () => { listen(); ask("/review/next"); });
})();
