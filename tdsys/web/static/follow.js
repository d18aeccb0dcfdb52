// A page about something that is going on looks again until it has ended.
"use strict";

document.addEventListener("DOMContentLoaded", () => setTimeout(() => location.reload(), 2000));
