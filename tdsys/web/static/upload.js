// Sends a chosen file as it is, with what the form says about it in the address.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  for (const form of document.querySelectorAll("form[data-upload]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const fields = new FormData(form);
      const file = fields.get("file");
      const told = form.querySelector("[role=status]");
      const bar = form.querySelector("progress");
      const button = form.querySelector("button");
      const query = new URLSearchParams({ filename: file.name });
      for (const [name, value] of fields) {
        if (typeof value === "string" && name !== "csrf" && value) query.set(name, value);
      }
      button.disabled = true;
      bar.hidden = false;
      told.textContent = "Sending…";
      try {
        const answer = await tdsys.upload(`${form.dataset.upload}?${query}`, file, (done, total) => {
          bar.max = total || 1;
          bar.value = done;
        });
        location.assign(answer.then);
      } catch (wrong) {
        told.textContent = `${wrong.message}: ${wrong.remedy}`;
        bar.hidden = true;
        button.disabled = false;
      }
    });
  }
});
