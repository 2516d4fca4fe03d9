// The list of keypoints with their figures in this frame, and one keypoint in full.

function makePanel(data, state, nodes) {
  const { legend, individuals, details } = nodes;
  // as high as it will be, so that rows of the list do not move away from under the pointer
  details.style.flexBasis = `min(50%, ${90 + 17 * data.views.length}px)`;
  const space = data.space;
  const seen = data.seen.some(Boolean);
  const columns = space
    ? [["error", "Reprojection error in pixels, root mean square over the views that were used"],
      [`sd ${data.units}`, "Standard deviation of the point's distance from the truth, from its covariance"],
      ["views", "Views that were used"]]
    : seen ? [["likely", "Largest likelihood over the views"], ["views", "Views that are sure of it"]] : [];
  const rows = [];
  let individual = 0; // whose figures are listed
  let drawn = -1;
  let due = 0;

  // ---- building

  const header = legend.tHead.rows[0];
  header.append(element("th", "keypoint"));
  for (const [name, title] of columns) {
    const cell = element("th", name);
    cell.title = title;
    header.append(cell);
  }
  data.keypoints.forEach((name, k) => {
    const row = legend.tBodies[0].insertRow();
    const dot = element("button", undefined, "dot");
    dot.type = "button";
    dot.style.setProperty("--dot", data.colors[k]);
    dot.setAttribute("aria-pressed", "true");
    dot.setAttribute("aria-label", `show ${name}`);
    dot.addEventListener("click", (event) => {
      event.stopPropagation();
      event.altKey ? state.showOnly(k) : state.hide(k, !state.hidden[k]);
    });
    const title = row.insertCell();
    title.title = name;
    title.append(dot, element("span", name));
    const point = () => individual * data.nKeypoints + k;
    row.addEventListener("click", () => state.select(point()));
    row.addEventListener("pointerenter", () => state.hover(point()));
    row.addEventListener("pointerleave", () => state.hover(-1));
    rows.push({ row, dot, cells: columns.map(() => row.insertCell()) });
  });
  if (data.nIndividuals > 1) {
    individuals.hidden = false;
    data.individuals.forEach((name, i) => {
      const chip = element("button", name);
      chip.type = "button";
      chip.title = "Click to list this individual, with Alt to hide or show it";
      chip.style.borderLeft = `6px solid ${data.individualColors[i]}`;
      chip.addEventListener("click", (event) => {
        if (event.altKey) state.hideIndividual(i, !state.hiddenIndividuals[i]);
        else {
          individual = i;
          refresh();
        }
      });
      individuals.append(chip);
    });
  }

  // ---- figures

  function figures(frame, p) {
    const at = frame * data.nPoints + p;
    if (space) {
      if (space.reason[at]) return ["–", "–", `${countBits(space.used[at])}`];
      return [spell(space.error[at]), spell(space.sd[at]), `${countBits(space.used[at])}`];
    }
    let best = NaN, sure = 0;
    for (const view of data.seen) {
      if (!view || Number.isNaN(view.xy[2 * at])) continue;
      const likelihood = view.likelihood[at] / 200;
      if (!(best >= likelihood)) best = likelihood;
      if (view.likelihood[at] >= data.leastLikelihood) sure++;
    }
    return [spell(best), `${sure}`];
  }

  function list(frame) {
    rows.forEach(({ row, cells }, k) => {
      const p = individual * data.nKeypoints + k;
      const texts = figures(frame, p);
      const at = frame * data.nPoints + p;
      const missing = space ? space.reason[at] !== 0 : texts[0] === "–";
      const bad = space && !missing && space.error[at] > state.limit();
      cells.forEach((cell, c) => {
        if (cell.textContent !== texts[c]) cell.textContent = texts[c];
        const name = missing ? "none" : bad && c === 0 ? "bad" : "";
        if (cell.className !== name) cell.className = name;
      });
      const about = missing && space ? `missing: ${data.reasons[space.reason[at]]}` : "";
      if (row.title !== about) row.title = about;
    });
  }

  /** Everything that is known of one point: its place, its error, what each view says. */
  function describe(frame, p) {
    details.replaceChildren();
    if (p < 0) {
      details.append(element("p", "Point at a keypoint, or click it to keep it.", "soft"));
      return;
    }
    const at = frame * data.nPoints + p;
    details.append(element("h2", pointName(data, p)));
    if (space) {
      if (space.reason[at]) {
        details.append(element("p", `missing: ${data.reasons[space.reason[at]]}`, "bad"));
      } else {
        const turned = space.axes.map((values) => values[at]);
        const turn = data.scene.rotation; // drawing from world; its transpose turns back
        const world = [0, 1, 2].map((d) => turn[0][d] * turned[0] + turn[1][d] * turned[1] + turn[2][d] * turned[2]);
        const place = world.map((value) => value.toFixed(data.units === "m" ? 4 : 1)).join(", ");
        details.append(
          element("p", `(${place}) ${data.units}`),
          element("p", `error ${spell(space.error[at])} px · sd ${spell(space.sd[at])} ${data.units}`),
        );
        if (space.filled[at]) details.append(element("p", "inferred, not measured in this frame", "bad"));
      }
    }
    const table = element("table");
    const head = table.insertRow();
    for (const name of ["view", "likely", ...(space ? ["error px", ""] : [])]) head.append(element("th", name));
    data.views.forEach((view, v) => {
      const row = table.insertRow();
      const found = data.seen[v] && !Number.isNaN(data.seen[v].xy[2 * at]);
      row.append(element("td", view.name));
      row.append(element("td", found ? (data.seen[v].likelihood[at] / 200).toFixed(2) : "–"));
      if (!space) return;
      let error = NaN;
      if (found && data.projected[v]) {
        const [a, b] = [data.seen[v].xy, data.projected[v]];
        error = Math.hypot(a[2 * at] - b[2 * at], a[2 * at + 1] - b[2 * at + 1]);
      }
      const used = (space.used[at] >>> v) & 1;
      row.append(element("td", spell(error), error > state.limit() ? "bad" : ""));
      row.append(element("td", used ? "used" : found ? "not used" : "", used ? "" : "soft"));
    });
    details.append(table);
  }

  function draw(frame) {
    // text is slow to lay out: ten times a second while playing
    const now = performance.now();
    if (frame === drawn || (state.playing() && now < due)) return;
    drawn = frame;
    due = now + 100;
    list(frame);
    const p = state.hovered >= 0 ? state.hovered : state.selected;
    if (p >= 0 || !details.firstChild) describe(frame, p);
  }

  function refresh() {
    rows.forEach(({ row, dot }, k) => {
      const p = individual * data.nKeypoints + k;
      row.classList.toggle("off", Boolean(state.hidden[k]));
      row.classList.toggle("selected", p === state.selected);
      row.classList.toggle("hover", p === state.hovered);
      dot.setAttribute("aria-pressed", String(!state.hidden[k]));
    });
    [...individuals.children].forEach((chip, i) => {
      chip.setAttribute("aria-pressed", String(i === individual));
      chip.style.opacity = state.hiddenIndividuals[i] ? 0.4 : 1;
    });
    drawn = -1;
    due = 0;
    details.replaceChildren();
    draw(state.frame());
  }

  return {
    draw,
    refresh,
    /** List the individual of a point. */
    follow(p) {
      if (p >= 0) individual = Math.floor(p / data.nKeypoints);
    },
  };
}
