// The page: what is shown where, from moment to moment.

import { Calibrating } from "./calibrating.js";
import * as edit from "./editing.js";
import { Images } from "./images.js";
import { Keys } from "./keys.js";
import { Labels } from "./labels.js";
import { Panel } from "./panel.js";
import { Queue } from "./queue.js";
import { at, byId, call } from "./server.js";
import { Timeline } from "./timeline.js";
import { View } from "./view.js";

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
    this.images = new Images();
    this.panel = new Panel(this);
    this.queue = new Queue(this);
    this.timeline = new Timeline(this);
    this.calibrating = new Calibrating(this);
    this.keys = new Keys(this);
  }

  // what is looked at in place of the frame that is labelled; empty if nothing is
  get away() {
    return this.timeline.away;
  }

  async open(name, image = null) {
    const recording = await call(`recording/${at(name)}`);
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
    this.images.clear();
    this.images.most = 3 * Math.max(1, this.views.length);
    this.labels.addEventListener("change", () => this.draw());
    this.labels.addEventListener("saving", () => this.panel.drawSaving());
    this.labels.addEventListener("moment", () => this.showMoment());
    this.labels.addEventListener("moments", () => { this.taken = this.takeMoments(); });
    this.queue.reset();
    const wanted = recording.moments.findIndex(({ name: title, images }) =>
      title === image || Object.values(images).includes(image));
    await this.go(Math.max(0, wanted));
    this.timeline.open(name);
    this.calibrating.offer(recording.places_cameras);
  }

  // usual lengths of bones, by all that is labelled so far
  async lookAtBones() {
    const { labels } = this;
    if (labels.measured === labels.edits) return;
    labels.measured = labels.edits;
    await labels.settled();
    labels.lengths = await call(`bones/${at(labels.name)}`);
    if (this.labels === labels) this.draw();
  }

  // images or cameras came while the page was open
  async takeMoments() {
    const here = this.labels.moments[this.labels.moment]?.name;
    const known = (cameras) => JSON.stringify(cameras.map(({ name, lens }) => [name, !lens]));
    if (known(this.labels.cameras) !== known(this.views.map(({ camera }) => camera))) {
      await this.open(this.labels.name, here);
      return;
    }
    this.queue.fill();
    await this.showMoment();
  }

  async go(index) {
    this.timeline.leave();
    const count = this.labels.moments.length;
    index = Math.max(0, Math.min(count - 1, index));
    this.countDone();
    const before = this.centres();
    if (count) await this.labels.open(index);
    this.follow(before);
    await this.showMoment();
    this.lookAtBones().catch(() => {});  // the next frame asks again
  }

  // middle of the animal in each view, by which zoomed views move from frame to frame
  centres() {
    return this.views.map(({ name, zoom }) => {
      if (zoom === 1 || !this.labels.points.size) return null;
      const places = [];
      this.told.keypoints.forEach((_, k) => {
        const xy = this.labels.point(name, this.individual, k)?.xy ??
          this.labels.offer(name, this.individual, k)?.xy;
        if (xy) places.push(xy);
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
    const { labels } = this;
    const { moment } = labels;
    byId("moment").value = moment;
    const loads = this.views.map(async (view) => {
      const there = labels.hasImage(view.name);
      view.message = there ? "loading" : "no image of this frame";
      let image = null;
      if (there) {
        try {
          image = await this.load(view.name, moment);
          view.message = "";
        } catch (error) {
          view.message = error.message;
        }
      }
      if (this.labels !== labels || labels.moment !== moment) return;
      view.image = image;
      view.drawImage();
    });
    await Promise.all(loads);
    this.layOut();
    this.draw();
    this.timeline.draw();
    // the next frame is at hand before it is asked for
    const next = this.queue.step(moment, 1);
    for (const view of this.views) {
      if (view.name in (labels.moments[next]?.images ?? {})) {
        this.load(view.name, next).catch(() => {});
      }
    }
  }

  load(camera, moment) {
    const { name, moments } = this.labels;
    return this.images.load(`image/${at(name, camera, moments[moment].name)}`);
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
    this.panel.draw();
    this.panel.drawSaving();
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

  // whether a keypoint is one of an individual: unique ones are those of "single" alone
  owns(individual, keypoint) {
    const { unique, keypoints, individuals } = this.told;
    return unique.length === 0 ||
      unique.includes(keypoints[keypoint]) === (individuals[individual] === "single");
  }

  get perImage() {
    const { keypoints, individuals } = this.told;
    return individuals.reduce(
      (sum, _, i) => sum + keypoints.filter((__, k) => this.owns(i, k)).length, 0);
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
    while (!this.owns(this.individual, next) && next !== this.keypoint);
    this.select(this.individual, next);
  }

  place(view, xy) {
    edit.place(this, view, xy);
  }

  nextUnlabelled() {
    this.countDone();
    const { moments, moment } = this.labels;
    const found = this.queue.next(moment, (m) =>
      Object.values(moments[m].labelled).some((count) => count < this.perImage));
    return found === null ? undefined : this.go(found);
  }

  nextOrder() {
    const orders = Object.keys(this.told.orders);
    return this.queue.choose(orders[(orders.indexOf(this.queue.order) + 1) % orders.length]);
  }

  zoomKeypoint() {
    for (const view of this.views) {
      const { individual, keypoint } = this;
      const xy = this.labels.point(view.name, individual, keypoint)?.xy ??
        this.labels.offer(view.name, individual, keypoint)?.xy;
      if (xy) view.zoomOn(xy);
    }
  }

  hold(what, value) {
    if (this[what] === value) return;
    this[what] = value;
    for (const view of this.views) view.draw();
  }

  tell(error) {
    this.labels.conflicts.push(error.message);
    this.panel.drawSaving();
  }

  listen() {
    const select = (id, act) => byId(id).addEventListener("change", ({ target }) => {
      target.blur();
      Promise.resolve(act(target.value)).catch((error) => this.tell(error));
    });
    select("recording", (name) => this.open(name));
    select("order", (order) => this.queue.choose(order));
    select("moment", (m) => this.go(Number(m)));
    select("individual", (i) => this.select(Number(i), this.keypoint));
    const buttons = {
      before: "previous_moment", after: "next_moment", undo: "undo", redo: "redo", keys: "help",
    };
    for (const [id, action] of Object.entries(buttons)) {
      byId(id).addEventListener("click", ({ currentTarget }) => {
        currentTarget.blur();
        this.keys.run(action);
      });
    }
    this.keys.listen();
    this.timeline.listen();
    this.calibrating.listen();
    window.addEventListener("resize", () => this.layOut());
    window.addEventListener("beforeunload", (event) => {
      if (this.labels?.queue.length) event.preventDefault();
    });
    setInterval(() => {
      if (this.labels && !document.hidden) this.labels.look().catch(() => {});
    }, 2000);
  }
}

// "#recording/image": where check-labels leads
function asked() {
  const parts = location.hash.slice(1).split("/");
  try {
    return parts.map(decodeURIComponent);
  } catch {
    return [];
  }
}

async function start() {
  const told = await call("project");
  document.title = `${told.task}: label frames`;
  const page = new Page(told);
  byId("recording").replaceChildren(...told.recordings.map((name) => new Option(name, name)));
  byId("order").replaceChildren(
    ...Object.entries(told.orders).map(([order, words]) => new Option(words, order)));
  byId("individual").replaceChildren(...told.individuals.map((name, i) => new Option(name, i)));
  byId("individual").hidden = told.individuals.length < 2;
  page.listen();
  const [recording, image] = asked();
  const first = told.recordings.includes(recording) ? recording : told.recordings[0];
  if (first !== undefined) {
    byId("recording").value = first;
    await page.open(first, image);
  }
  return page;
}

window.labeler = start();
window.labeler.catch((error) => {
  byId("banner").hidden = false;
  byId("banner").textContent = error.message;
});
