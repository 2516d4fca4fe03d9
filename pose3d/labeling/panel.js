// What stands beside and above the views: keypoints, errors, warnings, progress, what is saved.

import { byId, made, say } from "./server.js";
import { colour } from "./view.js";

const MARKS = { clicked: "●", reprojected: "■", predicted: "▲", occluded: "⊗", absent: "–" };

export class Panel {
  constructor(page) {
    this.page = page;
    this.dismissed = new Set();
  }

  draw() {
    const { page } = this;
    const { labels, told, individual } = page;
    const list = byId("keypoints");
    if (list.children.length !== told.keypoints.length) {
      list.replaceChildren(...told.keypoints.map((name, k) => {
        const item = made("li");
        const dot = made("span", "", "dot");
        dot.style.background = colour(k);
        item.append(dot, made("span", name, "name"), made("span", "", "states"), made("i", "", "bar"));
        item.addEventListener("click", () => page.select(page.individual, k));
        return item;
      }));
    }
    told.keypoints.forEach((_, k) => {
      const item = list.children[k];
      if (k === page.keypoint) item.setAttribute("aria-current", "true");
      else item.removeAttribute("aria-current");
      say(item.children[2], page.views
        .map(({ name }) => MARKS[labels.point(name, individual, k)?.state] ?? "·").join(""));
      const hidden = !page.owns(individual, k);
      if (item.hidden !== hidden) item.hidden = hidden;
    });
    byId("individual").value = individual;
    byId("undo").disabled = !labels.undoable.length;
    byId("redo").disabled = !labels.redoable.length;
    this.drawErrors();
    this.drawWarnings();
    this.drawProgress();
  }

  drawWarnings() {
    const warnings = this.page.labels.warnings();
    const box = byId("warnings");
    const shown = warnings.join("\n");
    if (box.dataset.shown === shown) return;
    box.dataset.shown = shown;
    box.hidden = !warnings.length;
    box.replaceChildren(...warnings.map((text) => made("p", `⚠ ${text}`)));
  }

  drawErrors() {
    const { labels, individual, keypoint, told, views } = this.page;
    const solved = labels.solve(individual, keypoint);
    const box = byId("errors");
    if (this.errors === solved && box.dataset.keypoint === `${keypoint}`) return;
    this.errors = solved;
    box.dataset.keypoint = keypoint;
    box.hidden = !solved;
    if (!solved) {
      box.replaceChildren();
      return;
    }
    const table = made("table");
    const head = made("tr");
    head.append(made("th", "view"), made("th", "error px"));
    if (solved.count > 2) head.append(made("th", "rms without"));
    table.append(head);
    for (const { name } of views) {
      const view = solved.views.get(name);
      if (!view || view.error === null) continue;
      const worst = solved.count > 2 && solved.worst?.name === name;
      const row = made("tr", "", worst ? "worst" : "");
      row.append(made("td", worst ? `${name} (worst)` : name), made("td", view.error.toFixed(2)));
      if (solved.count > 2) {
        const without = labels.errorWithout(individual, keypoint, name);
        row.append(made("td", without === null ? "–" : without.toFixed(2)));
      }
      table.append(row);
    }
    const note = solved.count > 2 ? ""
      : "Two views agree with almost any pair of clicks; a third one tests them.";
    box.replaceChildren(made("b", told.keypoints[keypoint]), table, made("small", note));
  }

  drawProgress() {
    const { page } = this;
    const { labels } = page;
    const here = labels.moments[labels.moment];
    const all = here ? Object.keys(here.images).length * page.perImage : 0;
    const place = page.queue.place(labels.moment) + 1;
    say(byId("progress"), here
      ? `${page.countHere()} of ${all} points · frame ${place} of ${labels.moments.length}`
      : "no frame yet: choose one below");
  }

  // how much of the whole recording is done, by view and by keypoint, as last saved
  drawBars() {
    const { page } = this;
    const { told, labels } = page;
    if (this.barred === labels.counts) return;
    const share = (done, all) => (all ? Math.min(1, done / all) : 0);
    const sums = told.keypoints.map(() => 0);
    let images = 0;
    for (const view of page.views) {
      const counts = labels.counts[view.name];
      if (!counts) continue;
      images += counts.images;
      const done = counts.points.reduce((a, b) => a + b, 0);
      view.showShare(share(done, counts.images * page.perImage));
      counts.points.forEach((count, k) => { sums[k] += count; });
    }
    const list = byId("keypoints");
    if (!list.children.length) return;
    this.barred = labels.counts;
    sums.forEach((done, k) => {
      const owners = told.individuals.filter((_, i) => page.owns(i, k)).length;
      const part = share(done, images * owners);
      const bar = list.children[k].lastChild;
      bar.style.width = `${100 * part}%`;
      list.children[k].title = `${told.keypoints[k]}: ${Math.round(100 * part)} % of all views`;
    });
  }

  drawSaving() {
    const { labels } = this.page;
    const saved = byId("saved");
    saved.classList.toggle("trouble", labels.trouble !== "");
    say(saved, labels.trouble ? `Not saved (${labels.queue.length})`
      : labels.queue.length ? "saving…" : `saved (${labels.sequence})`);
    if (!labels.queue.length) this.drawBars();
    const texts = [...labels.notices, ...labels.conflicts].filter((t) => !this.dismissed.has(t));
    if (labels.trouble) texts.unshift(labels.trouble);
    const banner = byId("banner");
    const shown = texts.join("\n");
    if (banner.dataset.shown === shown) return;
    banner.dataset.shown = shown;
    banner.hidden = !texts.length;
    const list = made("ul");
    list.append(...texts.map((text) => made("li", text)));
    const close = made("button", "Understood");
    close.addEventListener("click", () => {
      for (const text of texts) this.dismissed.add(text);
      this.drawSaving();
    });
    banner.replaceChildren(list, close);
    this.page.layOut();
  }
}
