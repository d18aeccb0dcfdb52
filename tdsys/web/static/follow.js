// A page about something that is going on looks again until it has ended; never under the hands of
// somebody who types, is about to press something, or marks text, nor of somebody on the way to
// another page: looking again would call them back.
"use strict";

const LEAVING_MILLISECONDS = 10000;

document.addEventListener("DOMContentLoaded", () => {
  let left = -Infinity;
  addEventListener("beforeunload", () => { left = performance.now(); });
  const isBusy = () =>
    document.hidden
    || performance.now() - left < LEAVING_MILLISECONDS
    || document.querySelector("main :focus, dialog[open]")
    || !document.getSelection().isCollapsed;
  setInterval(() => { if (!isBusy()) location.reload(); }, 2000);
});
