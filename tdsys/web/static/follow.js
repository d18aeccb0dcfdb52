// A page about something that is going on looks again until it has ended; never under the hands of
// somebody who types, is about to press something, or marks text.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const isBusy = () =>
    document.hidden
    || document.querySelector("main :focus, dialog[open]")
    || !document.getSelection().isCollapsed;
  setInterval(() => { if (!isBusy()) location.reload(); }, 2000);
});
