// Brightness, contrast and gamma of a view's image, by the browser's filters.

const SPACE = "http://www.w3.org/2000/svg";

function gammaFilter(id, gamma) {
  let filter = document.getElementById(id);
  if (!filter) {
    filter = document.createElementNS(SPACE, "filter");
    filter.id = id;
    filter.setAttribute("color-interpolation-filters", "sRGB");
    const transfer = document.createElementNS(SPACE, "feComponentTransfer");
    for (const channel of ["R", "G", "B"]) {
      const bend = document.createElementNS(SPACE, `feFunc${channel}`);
      bend.setAttribute("type", "gamma");
      transfer.append(bend);
    }
    filter.append(transfer);
    document.querySelector("defs").append(filter);
  }
  for (const bend of filter.firstChild.children) bend.setAttribute("exponent", 1 / gamma);
}

// number: the view's, by which its filter is found
export function applyTuning(canvas, number, { brightness, contrast, gamma }) {
  const id = `gamma${number}`;
  if (gamma !== 1) gammaFilter(id, gamma);
  const bend = gamma === 1 ? "" : ` url(#${id})`;
  canvas.style.filter = `brightness(${brightness}) contrast(${contrast})${bend}`;
}
