// The page: what is shown where, and what keys and buttons do.

import { Labels } from "./labels.js";
import { colour, View } from "./view.js";

const byId = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token") ?? "";

async function fetched(path, options = {}) {
  let answer;
  try {
    answer = await fetch(`/api/${path}`, { ...options, headers: { "x-token": token } });
  } catch {
    throw new Error(
      "label-frames does not answer. Keep this page open and start it again with --link and this " +
      "page's whole address in quotes: the page then saves what it holds.");
  }
  if (answer.ok) return answer;
  const text = await answer.text();
  let message = text;
  try {
    message = JSON.parse(text).error;
  } catch { /* plain text */ }
  throw Object.assign(new Error(message), { status: answer.status });
}

async function call(path, body) {
  const options = body ? { method: "POST", body: JSON.stringify(body) } : {};
  return (await fetched(path, options)).json();
}

// an element with text in it; names are text and never anything else
function made(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

const MARKS = { clicked: "●", reprojected: "■", predicted: "▲", occluded: "⊗", absent: "–" };

class Page {
  constructor(told) {
    this.told = told;
    this.views = [];
    this.individual = 0;
    this.keypoint = 0;
    this.focus = null;
    this.hidden = this.magnified = false;
    this.pointer = null;
    this.size = 1;
    this.images = new Map();
    this.dismissed = new Set();
    this.actions = this.makeActions();
    this.byKey = new Map(Object.entries(told.keys).map(([action, key]) => [key, action]));
  }

  async open(name) {
    const recording = await call(`recording/${encodeURIComponent(name)}`);
    this.labels = new Labels(this.told, recording, call);
    this.advanceOnClick = recording.cameras.filter(({ lens }) => lens).length < 2;
    this.views = [];
    byId("views").replaceChildren();
    document.querySelector("defs").replaceChildren();
    for (const camera of recording.cameras) {
      const view = new View(camera, this.labels, this);
      this.views.push(view);
      byId("views").append(view.element);
    }
    this.focus = this.views[0];
    for (const image of this.images.values()) image.then((bitmap) => bitmap?.close?.(), () => {});
    this.images.clear();
    this.labels.addEventListener("change", () => this.draw());
    this.labels.addEventListener("saving", () => this.drawSaving());
    this.labels.addEventListener("moment", () => this.showMoment());
    byId("moment").replaceChildren(
      ...recording.moments.map(({ name: title }, m) => new Option(`frame ${title}`, m)));
    await this.go(0);
    this.lookAtBones();
  }

  async lookAtBones() {
    this.labels.lengths = await call(`bones/${encodeURIComponent(this.labels.name)}`);
    this.draw();
  }

  async go(index) {
    const count = this.labels.moments.length;
    index = Math.max(0, Math.min(count - 1, index));
    this.countDone();
    const before = this.centres();
    await this.labels.open(index);
    this.follow(before);
    await this.showMoment();
  }

  // middle of the animal in each view, by which zoomed views move from frame to frame
  centres() {
    return this.views.map(({ name, zoom }) => {
      if (zoom === 1 || !this.labels.points.size) return null;
      const places = [];
      this.told.keypoints.forEach((_, k) => {
        const at = this.labels.point(name, this.individual, k)?.xy ??
          this.labels.offer(name, this.individual, k)?.xy;
        if (at) places.push(at);
      });
      if (!places.length) return null;
      return [0, 1].map((c) => places.reduce((sum, p) => sum + p[c], 0) / places.length);
    });
  }

  follow(before) {
    const now = this.centres();
    this.views.forEach((view, v) => {
      if (before[v] && now[v] && view.centre) {
        view.centre = view.centre.map((value, c) => value + now[v][c] - before[v][c]);
      }
    });
  }

  async showMoment() {
    const { moment } = this.labels;
    byId("moment").value = moment;
    const loads = this.views.map(async (view) => {
      view.message = this.labels.hasImage(view.name) ? "loading" : "no image of this frame";
      let image = null;
      if (this.labels.hasImage(view.name)) {
        try {
          image = await this.load(view.name, moment);
          view.message = "";
        } catch (error) {
          view.message = error.message;
        }
      }
      if (this.labels.moment !== moment) return;
      view.image = image;
      view.drawImage();
    });
    await Promise.all(loads);
    this.layOut();
    this.draw();
    // the next frame is at hand before it is asked for
    for (const view of this.views) {
      if (view.name in (this.labels.moments[moment + 1]?.images ?? {})) {
        this.load(view.name, moment + 1).catch(() => {});
      }
    }
  }

  load(camera, moment) {
    const { name } = this.labels;
    const at = `${encodeURIComponent(name)}/${encodeURIComponent(camera)}/${moment}`;
    if (!this.images.has(at)) {
      const bitmap = fetched(`image/${at}`)
        .then((answer) => answer.blob())
        .then((blob) => createImageBitmap(blob))
        .catch((error) => {
          this.images.delete(at);
          throw error.status ? error : new Error("the image cannot be read");
        });
      this.images.set(at, bitmap);
      while (this.images.size > 3 * this.views.length) {
        this.images.delete(this.images.keys().next().value);
      }
    }
    return this.images.get(at);
  }

  // as many columns as make images largest
  layOut() {
    const box = byId("views");
    const shapes = this.views.map(({ image }) => (image ? image.width / image.height : 4 / 3));
    const shape = shapes.reduce((a, b) => a + b, 0) / (shapes.length || 1);
    let best = [0, 1];
    for (let columns = 1; columns <= this.views.length; columns++) {
      const rows = Math.ceil(this.views.length / columns);
      const size = Math.min(box.clientWidth / columns / shape, box.clientHeight / rows);
      if (size > best[0] * 1.001) best = [size, columns];
    }
    box.style.gridTemplateColumns = `repeat(${best[1]}, minmax(0, 1fr))`;
    box.style.gridAutoRows = "minmax(0, 1fr)";
    // marks and words keep their size on large screens
    this.size = window.innerWidth >= 2400 ? 1.8 : 1;
    for (const view of this.views) view.resize();
  }

  draw() {
    for (const view of this.views) view.draw();
    this.drawPanel();
    this.drawSaving();
  }

  drawPanel() {
    const { labels, told, individual } = this;
    const list = byId("keypoints");
    if (list.children.length !== told.keypoints.length) {
      list.replaceChildren(...told.keypoints.map((name, k) => {
        const item = made("li");
        const dot = made("span", "", "dot");
        dot.style.background = colour(k);
        item.append(dot, made("span", name, "name"), made("span", "", "states"));
        item.addEventListener("click", () => this.select(this.individual, k));
        return item;
      }));
    }
    told.keypoints.forEach((_, k) => {
      const item = list.children[k];
      if (k === this.keypoint) item.setAttribute("aria-current", "true");
      else item.removeAttribute("aria-current");
      item.lastChild.textContent = this.views
        .map(({ name }) => MARKS[labels.point(name, individual, k)?.state] ?? "·").join("");
      item.hidden = told.unique.length > 0 &&
        told.unique.includes(told.keypoints[k]) !== (told.individuals[individual] === "single");
    });
    byId("individual").value = individual;
    byId("undo").disabled = !labels.undoable.length;
    byId("redo").disabled = !labels.redoable.length;
    this.drawErrors();
    const warnings = labels.warnings();
    byId("warnings").hidden = !warnings.length;
    byId("warnings").replaceChildren(...warnings.map((text) => made("p", `⚠ ${text}`)));
    this.drawProgress();
  }

  drawErrors() {
    const { labels, individual, keypoint } = this;
    const solved = labels.solve(individual, keypoint);
    const box = byId("errors");
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
    for (const { name } of this.views) {
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
    box.replaceChildren(made("b", this.told.keypoints[keypoint]), table, made("small", note));
  }

  // points that have a state in this moment, of all there could be
  countHere() {
    let done = 0;
    for (const own of this.labels.points.values()) done += own.size;
    return done;
  }

  countDone() {
    if (!this.labels.points.size) return;
    const { labelled } = this.labels.moments[this.labels.moment];
    for (const camera of Object.keys(labelled)) labelled[camera] = this.labels.points.get(camera).size;
  }

  get perImage() {
    return this.told.keypoints.length * this.told.individuals.length;
  }

  drawProgress() {
    const all = Object.keys(this.labels.moments[this.labels.moment].images).length * this.perImage;
    const { moment, moments } = this.labels;
    byId("progress").textContent =
      `${this.countHere()} of ${all} points · frame ${moment + 1} of ${moments.length}`;
  }

  drawSaving() {
    const { labels } = this;
    const saved = byId("saved");
    saved.classList.toggle("trouble", labels.trouble !== "");
    saved.textContent = labels.trouble ? `Not saved (${labels.queue.length})`
      : labels.queue.length ? "saving…" : `saved (${labels.sequence})`;
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
      this.layOut();
    });
    banner.replaceChildren(list, close);
    this.layOut();
  }

  focusOn(view) {
    this.focus = view;
    for (const other of this.views) other.draw();
  }

  select(individual, keypoint) {
    this.individual = individual;
    this.keypoint = keypoint;
    this.draw();
  }

  step(by) {
    const n = this.told.keypoints.length;
    let next = this.keypoint;
    do next = (next + by + n) % n;
    while (byId("keypoints").children[next].hidden && next !== this.keypoint);
    this.select(this.individual, next);
  }

  click(view, place) {
    this.place(view, view.toImage(place));
  }

  place(view, xy, state = "clicked") {
    const { individual, keypoint } = this;
    this.labels.set([{ camera: view.name, individual, keypoint, after: { state, xy } }]);
    if (this.advanceOnClick) this.step(1);
  }

  // occluded (where it is, if that is known), absent, neither
  cycleOccluded(xy = null) {
    const { individual, keypoint, focus, labels } = this;
    const point = labels.point(focus.name, individual, keypoint);
    const known = point?.xy ?? labels.offer(focus.name, individual, keypoint)?.xy ?? xy;
    const after = point?.state === "absent" ? null
      : point?.state === "occluded" ? { state: "absent", xy: null }
        : { state: "occluded", xy: known };
    labels.set([{ camera: focus.name, individual, keypoint, after }]);
  }

  accept(views, keypoints, individuals = [this.individual]) {
    const wanted = [];
    for (const { name } of views) {
      for (const individual of individuals) {
        for (const keypoint of keypoints) {
          const offer = this.labels.offer(name, individual, keypoint);
          if (!offer) continue;
          const after = { state: offer.state, xy: offer.xy };
          if (offer.likelihood != null) after.likelihood = offer.likelihood;
          wanted.push({ camera: name, individual, keypoint, after });
        }
      }
    }
    return this.labels.set(wanted);
  }

  clear(views) {
    const { individual, keypoint } = this;
    this.labels.set(
      views.map(({ name }) => ({ camera: name, individual, keypoint, after: null })));
  }

  swap(views) {
    const wanted = [];
    for (const { name } of views) {
      this.told.mirrored.forEach((partner, k) => {
        if (partner === k) return;
        const after = this.labels.point(name, this.individual, partner);
        wanted.push({ camera: name, individual: this.individual, keypoint: k, after });
      });
    }
    this.labels.set(wanted);
  }

  async copy() {
    const { labels } = this;
    const before = labels.moments.slice(0, labels.moment).findLastIndex(
      ({ labelled }) => Object.values(labelled).some((count) => count > 0));
    if (before < 0) return;
    const told = await call(`moment/${encodeURIComponent(labels.name)}/${before}`);
    const wanted = [];
    for (const [camera, points] of Object.entries(told.points)) {
      for (const [individual, keypoint, point] of points) {
        if (!labels.point(camera, individual, keypoint)) {
          wanted.push({ camera, individual, keypoint, after: point });
        }
      }
    }
    labels.set(wanted);
  }

  nudge(dx, dy, far) {
    const { individual, keypoint, focus } = this;
    const point = this.labels.point(focus.name, individual, keypoint);
    if (!point?.xy) return;
    const size = far ? 5 : 0.5;
    const state = point.state === "occluded" ? "occluded" : "clicked";
    const xy = [point.xy[0] + dx * size, point.xy[1] + dy * size];
    this.labels.set([{ camera: focus.name, individual, keypoint, after: { state, xy } }]);
  }

  nextUnlabelled() {
    this.countDone();
    const { moments, moment } = this.labels;
    for (let i = 1; i <= moments.length; i++) {
      const { labelled } = moments[(moment + i) % moments.length];
      if (Object.values(labelled).some((count) => count < this.perImage)) {
        return this.go((moment + i) % moments.length);
      }
    }
  }

  zoomKeypoint() {
    for (const view of this.views) {
      const { individual, keypoint } = this;
      const at = this.labels.point(view.name, individual, keypoint)?.xy ??
        this.labels.offer(view.name, individual, keypoint)?.xy;
      if (at) view.zoomOn(at);
    }
  }

  tune(what, factor) {
    const { tuning } = this.focus;
    tuning[what] = Math.max(0.2, Math.min(8, tuning[what] * factor));
    this.focus.tune();
  }

  setGamma(v, gamma) {
    const space = "http://www.w3.org/2000/svg";
    const id = `gamma${v}`;
    if (!byId(id)) {
      const filter = document.createElementNS(space, "filter");
      filter.id = id;
      filter.setAttribute("color-interpolation-filters", "sRGB");
      const transfer = document.createElementNS(space, "feComponentTransfer");
      for (const channel of ["R", "G", "B"]) {
        const bend = document.createElementNS(space, `feFunc${channel}`);
        bend.setAttribute("type", "gamma");
        transfer.append(bend);
      }
      filter.append(transfer);
      document.querySelector("defs").append(filter);
    }
    for (const bend of byId(id).firstChild.children) bend.setAttribute("exponent", 1 / gamma);
  }

  makeActions() {
    const all = () => this.told.keypoints.map((_, k) => k);
    const turn = (by) => {
      const n = this.views.length;
      this.focusOn(this.views[(this.views.indexOf(this.focus) + by + n) % n]);
    };
    return {
      next_moment: () => this.go(this.labels.moment + 1),
      previous_moment: () => this.go(this.labels.moment - 1),
      next_unlabelled: () => this.nextUnlabelled(),
      next_keypoint: () => this.step(1),
      previous_keypoint: () => this.step(-1),
      next_individual: () =>
        this.select((this.individual + 1) % this.told.individuals.length, this.keypoint),
      next_view: () => turn(1),
      previous_view: () => turn(-1),
      place: () => {
        const offer = this.labels.offer(this.focus.name, this.individual, this.keypoint);
        this.place(this.focus, offer?.xy ?? this.focus.middle);
      },
      accept_offers: () => {
        this.accept(this.views, [this.keypoint]);
        this.step(1);
      },
      accept_offer: () => this.accept([this.focus], [this.keypoint]),
      accept_frame: () =>
        this.accept(this.views, all(), this.told.individuals.map((_, i) => i)),
      occluded: () => this.cycleOccluded(),
      clear: () => this.clear([this.focus]),
      clear_all: () => this.clear(this.views),
      undo: () => this.labels.undo(),
      redo: () => this.labels.redo(),
      swap: () => this.swap([this.focus]),
      swap_all: () => this.swap(this.views),
      copy: () => this.copy(),
      left: (event) => this.nudge(-1, 0, event.shiftKey),
      right: (event) => this.nudge(1, 0, event.shiftKey),
      up: (event) => this.nudge(0, -1, event.shiftKey),
      down: (event) => this.nudge(0, 1, event.shiftKey),
      zoom_in: () => this.focus.zoomAt([this.focus.width / 2, this.focus.height / 2], 1.3),
      zoom_out: () => this.focus.zoomAt([this.focus.width / 2, this.focus.height / 2], 1 / 1.3),
      zoom_keypoint: () => this.zoomKeypoint(),
      whole: () => this.views.forEach((view) => { view.whole(); view.redraw(); }),
      hide: () => this.hold("hidden", true),
      magnify: () => this.hold("magnified", true),
      advance: () => { this.advanceOnClick = !this.advanceOnClick; },
      brighter: () => this.tune("brightness", 1.15),
      darker: () => this.tune("brightness", 1 / 1.15),
      contrast_more: () => this.tune("contrast", 1.15),
      contrast_less: () => this.tune("contrast", 1 / 1.15),
      gamma_more: () => this.tune("gamma", 1.2),
      gamma_less: () => this.tune("gamma", 1 / 1.2),
      help: () => this.showKeys(),
    };
  }

  hold(what, value) {
    if (this[what] === value) return;
    this[what] = value;
    for (const view of this.views) view.draw();
  }

  keyName(event) {
    let name = event.key === " " ? "Space" : event.key;
    if (name.length === 1 && !event.shiftKey) name = name.toLowerCase();  // caps lock
    const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
    const shift = event.shiftKey && (name.length > 1 || control || /\p{Lu}/u.test(name));
    return `${control}${shift ? "Shift+" : ""}${control ? name.toLowerCase() : name}`;
  }

  keyDown(event) {
    if (!this.labels || byId("help").open && event.key !== "?") return;
    if (event.target instanceof HTMLSelectElement && !event.ctrlKey) return;
    let name = this.keyName(event);
    if (name === "Ctrl+Shift+z") name = "Ctrl+y";
    const digit = /^[1-9]$/.exec(event.key);
    let action = this.byKey.get(name) ?? this.byKey.get(name.replace("Shift+Arrow", "Arrow"));
    if (!action && digit && !event.ctrlKey && Number(digit[0]) <= this.told.keypoints.length) {
      this.select(this.individual, Number(digit[0]) - 1);
      return;
    }
    if (!action) return;
    event.preventDefault();
    Promise.resolve(this.actions[action](event)).catch((error) => this.tell(error));
  }

  keyUp(event) {
    const action = this.byKey.get(this.keyName(event));
    if (action === "hide") this.hold("hidden", false);
    if (action === "magnify") this.hold("magnified", false);
  }

  tell(error) {
    this.labels.conflicts.push(error.message);
    this.drawSaving();
  }

  showKeys() {
    const dialog = byId("help");
    if (dialog.open) {
      dialog.close();
      return;
    }
    dialog.querySelector("table").replaceChildren(
      ...Object.entries(this.told.help).map(([action, words]) => {
        const row = made("tr");
        const cell = made("td");
        cell.append(made("kbd", this.told.keys[action]));
        row.append(cell, made("td", words));
        return row;
      }));
    dialog.querySelector("p").textContent =
      "1 to 9 choose a keypoint. Click places it, drag moves it, right-click: occluded. Wheel " +
      "zooms, dragging beside points pans, Shift and double-click show the whole image. Other " +
      "keys: label-keys.yaml beside config.yaml.";
    dialog.showModal();
  }

  listen() {
    const select = (id, act) => byId(id).addEventListener("change", ({ target }) => {
      target.blur();
      Promise.resolve(act(target.value)).catch((error) => this.tell(error));
    });
    select("recording", (name) => this.open(name));
    select("moment", (m) => this.go(Number(m)));
    select("individual", (i) => this.select(Number(i), this.keypoint));
    const buttons = {
      before: "previous_moment", after: "next_moment", undo: "undo", redo: "redo", keys: "help",
    };
    for (const [id, action] of Object.entries(buttons)) {
      byId(id).addEventListener("click", ({ currentTarget }) => {
        currentTarget.blur();
        Promise.resolve(this.actions[action]()).catch((error) => this.tell(error));
      });
    }
    document.addEventListener("keydown", (event) => this.keyDown(event));
    document.addEventListener("keyup", (event) => this.keyUp(event));
    window.addEventListener("blur", () => {
      this.hold("hidden", false);
      this.hold("magnified", false);
    });
    window.addEventListener("resize", () => this.layOut());
    window.addEventListener("beforeunload", (event) => {
      if (this.labels?.queue.length) event.preventDefault();
    });
    setInterval(() => {
      if (this.labels && !document.hidden) this.labels.look().catch(() => {});
    }, 2000);
  }
}

async function start() {
  const told = await call("project");
  document.title = `${told.task}: label frames`;
  const page = new Page(told);
  byId("recording").replaceChildren(...told.recordings.map((name) => new Option(name, name)));
  byId("individual").replaceChildren(...told.individuals.map((name, i) => new Option(name, i)));
  byId("individual").hidden = told.individuals.length < 2;
  page.listen();
  const asked = decodeURIComponent(location.hash.slice(1));
  const first = told.recordings.includes(asked) ? asked : told.recordings[0];
  if (first !== undefined) {
    byId("recording").value = first;
    await page.open(first);
  }
  return page;
}

window.labeler = start();
window.labeler.catch((error) => {
  byId("banner").hidden = false;
  byId("banner").textContent = error.message;
});
