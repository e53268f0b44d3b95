// What a script can add: live parts, copying, files. Every page works without it.
"use strict";

const COPIED_FOR_MS = 2000;
const LIVE_EVERY_MS = 2000;

// After a form was refused, the reader is at what is wrong.
document.querySelector(".problem, .told")?.focus();

function button(text, name) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "copy";
  made.textContent = text;
  if (name) made.setAttribute("aria-label", name);
  return made;
}

for (const shown of document.querySelectorAll("[data-copy-name]")) {
  const copy = button("Copy", `Copy ${shown.dataset.copyName}`);
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(shown.dataset.copy ?? shown.value);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, COPIED_FOR_MS);
  });
  shown.after(copy);
}

for (const shown of document.querySelectorAll("[data-save]")) {
  const save = button("Download");
  save.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([shown.value], { type: "application/octet-stream" }));
    link.download = shown.dataset.save;
    link.click();
    URL.revokeObjectURL(link.href);
  });
  shown.after(save);
}

// A file goes into the field where it could be pasted, so the form is the same.
for (const area of document.querySelectorAll("textarea[data-file]")) {
  const choose = document.createElement("input");
  choose.type = "file";
  choose.setAttribute("aria-label", `${area.dataset.file} for: ${area.labels[0]?.textContent ?? ""}`);
  choose.addEventListener("change", async () => {
    if (choose.files[0]) area.value = await choose.files[0].text();
  });
  area.after(choose);
}

// Live parts are fetched again while the page is seen and nobody has paused them.
for (const part of document.querySelectorAll("[data-live]")) {
  let isPaused = false;
  let isAsking = false;
  const pause = button("Pause updates");
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? "Go on with updates" : "Pause updates";
  });
  part.after(pause);
  const asking = setInterval(async () => {
    if (isPaused || isAsking || document.hidden) return;
    isAsking = true;
    try {
      const answer = await fetch(part.dataset.live, { redirect: "error" });
      const text = answer.ok ? await answer.text() : "";
      if (answer.status === 401) {
        clearInterval(asking);
        pause.replaceWith("The session has ended: load the page again.");
      }
      if (text && text !== part.dataset.last) {
        part.innerHTML = text;
        part.dataset.last = text;
      }
    } catch {
      // The node is away; the next try may find it.
    } finally {
      isAsking = false;
    }
  }, LIVE_EVERY_MS);
}
