// Sets the formulas in text from outside. It reads text and makes nodes: no HTML is ever parsed.
// A formula is between \( \), \[ \] or $$ $$; a single $ is money.
"use strict";

const tdsysMath = (() => {
  const LONGEST = 20000;
  const OPTIONS = {
    trust: false, strict: "ignore", throwOnError: true, maxSize: 20, maxExpand: 200, output: "htmlAndMathml",
  };
  const ENDS = { "\\(": "\\)", "\\[": "\\]", $$: "$$" };
  const raw = new WeakMap();
  let shownRaw = false;

  // [{text}] and [{formula, display, source}] in turn; an opening without its end is text.
  function pieces(text) {
    const found = [];
    let at = 0;
    const opening = /\\\(|\\\[|\$\$/g;
    for (let match = opening.exec(text); match; match = opening.exec(text)) {
      if (match.index > 0 && text[match.index - 1] === "\\" && match[0] !== "$$") continue;
      const begin = match.index + 2;
      const end = text.indexOf(ENDS[match[0]], begin);
      if (end < 0) continue;
      if (match.index > at) found.push({ text: text.slice(at, match.index) });
      found.push({ formula: text.slice(begin, end), display: match[0] !== "\\(", source: text.slice(match.index, end + 2) });
      at = end + 2;
      // a formula of its own line ends that line: what blanks follow it would begin the next
      if (match[0] !== "\\(") at += /^[ \t]*\n?/.exec(text.slice(at))[0].length;
      opening.lastIndex = at;
    }
    if (at < text.length) found.push({ text: text.slice(at) });
    return found;
  }

  function set({ formula, display, source }) {
    const place = document.createElement("span");
    place.className = display ? "formula display" : "formula";
    try {
      katex.render(formula, place, { ...OPTIONS, displayMode: display });
    } catch (wrong) {
      place.className = "formula unset";
      place.title = wrong instanceof katex.ParseError ? "this formula cannot be read" : "this formula cannot be set";
      place.replaceChildren(source);
    }
    return place;
  }

  function render(element) {
    const text = raw.get(element) ?? element.textContent;
    raw.set(element, text);
    element.dataset.set = "";
    if (shownRaw || text.length > LONGEST || typeof katex === "undefined") {
      element.replaceChildren(text);
      return;
    }
    try {
      element.replaceChildren(...pieces(text).map((piece) => ("text" in piece ? piece.text : set(piece))));
    } catch {
      element.replaceChildren(text);
    }
  }

  const renderAll = (root = document) => root.querySelectorAll("[data-math]").forEach(render);

  function switches() {
    for (const button of document.querySelectorAll("[data-math-switch]")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        shownRaw = !shownRaw;
        button.setAttribute("aria-pressed", String(shownRaw));
        renderAll();
      });
    }
  }

  renderAll();
  switches();
  return { render, renderAll, pieces, textOf: (element) => raw.get(element) ?? element.textContent };
})();
