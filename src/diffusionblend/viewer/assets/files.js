// Pictures out of the page, and volumes into it.

const CAPTION_FONT = "600 13px system-ui, sans-serif";

// What is shown of some panes as one picture, with their names and slices; a promise of its PNG.
function pictureOf(panes) {
  const boxes = panes.map((pane) => pane.element.getBoundingClientRect());
  const left = Math.min(...boxes.map((b) => b.left));
  const top = Math.min(...boxes.map((b) => b.top));
  const ratio = window.devicePixelRatio || 1;
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(ratio * (Math.max(...boxes.map((b) => b.right)) - left));
  canvas.height = Math.round(ratio * (Math.max(...boxes.map((b) => b.bottom)) - top));
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  panes.forEach((pane, i) => {
    const { left: x, top: y, width, height } = boxes[i];
    context.save();
    context.translate(x - left, y - top);
    context.beginPath();
    context.rect(0, 0, width, height);
    context.clip();
    context.drawImage(pane.canvas, 0, 0, width, height);
    pane.element.querySelectorAll("span").forEach((label) => caption(context, label, boxes[i]));
    context.restore();
  });
  return new Promise((done) => { canvas.toBlob(done, "image/png"); });
}

// Draw a label where it is on the page.
function caption(context, label, box) {
  const at = label.getBoundingClientRect();
  if (!label.textContent || !at.width) return;
  context.font = CAPTION_FONT;
  context.textBaseline = "middle";
  context.lineWidth = 3;
  context.strokeStyle = "#000";
  context.fillStyle = "#e6e8ea";
  const place = [label.textContent, at.left - box.left, at.top - box.top + at.height / 2];
  context.strokeText(...place);
  context.fillText(...place);
}

// Save the pictures of some panes as a file.
async function savePicture(panes, name) {
  const address = URL.createObjectURL(await pictureOf(panes));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${name.replace(/[^\w.+]+/g, "-")}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

// Files dropped on the page go to the server that it came from, which reads them as it reads all.
function takeFiles(viewer) {
  const over = (isOver) => document.body.classList.toggle("dropping", isOver);
  document.addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(false); });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    over(false);
    const files = [...event.dataTransfer.files];
    if (files.length) await sendFiles(viewer, files);
  });
}

async function sendFiles(viewer, files) {
  if (!viewer.facts.takes_files) {
    notice("This page is one file and takes no others. Try: diffusionblend view A B, which opens a page that does.");
    return;
  }
  const isAdded = [];
  for (const file of files) {
    const said = notice(`Reading ${file.name} ...`);
    try {
      const answer = await fetch(`add/${encodeURIComponent(file.name)}`, { method: "POST", body: file });
      isAdded.push(answer.ok);
      if (!answer.ok) said.textContent = await answer.text();
    } catch (error) {
      said.textContent = `${file.name} could not be sent (${error.message}). Is the viewer still running?`;
    }
  }
  if (isAdded.length && isAdded.every(Boolean)) viewer.startAgain();
  else if (isAdded.includes(true)) notice("Reload the page to see the others.");
}
