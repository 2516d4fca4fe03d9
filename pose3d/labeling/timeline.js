// The videos of the recording along time: to look around a frame, and to choose moments by hand.

import { Images } from "./images.js";
import { at, byId, call } from "./server.js";

const AROUND = [-2, -1, 0, 1, 2];
const MS = 160;

export class Timeline {
  constructor(page) {
    this.page = page;
    this.count = 0;
    this.fps = 0;
    this.cameras = [];
    this.images = new Images();
    this.moment = null;  // the moment of the videos that is looked at
    this.away = "";
    this.asked = 0;
    this.playing = null;
  }

  async open(name) {
    this.leave();
    this.images.clear();
    const told = await call(`video/${at(name)}`).catch(() => ({ n_frames: 0, fps: 0, cameras: [] }));
    if (this.page.labels.name !== name) return;
    this.count = told.n_frames;
    this.fps = told.fps;
    this.cameras = told.cameras;
    this.images.most = 8 * Math.max(1, this.cameras.length);
    byId("timeline").hidden = this.count < 1;
    byId("time").max = Math.max(0, this.count - 1);
    this.page.layOut();
    this.draw();
  }

  get second() {
    return Math.max(1, Math.round(this.fps));
  }

  // number of the moment that is labelled; null where its images have no numbers
  get here() {
    const { labels } = this.page;
    const name = labels.moments[labels.moment]?.name;
    return /^[0-9]+$/.test(name ?? "") ? Number(name) : null;
  }

  load(camera, moment, around = false) {
    const path = `frame/${at(this.page.labels.name, camera, moment)}`;
    return this.images.load(around ? `${path}?around` : path);
  }

  step(by) {
    return this.show((this.moment ?? this.here ?? 0) + by);
  }

  // look at a moment of the videos; while frames are on their way, the last one asked for counts
  async show(moment) {
    const { page } = this;
    if (this.count < 1) throw new Error("The videos of this recording are not here.");
    moment = Math.max(0, Math.min(this.count - 1, moment));
    const asked = ++this.asked;
    this.moment = moment;
    this.draw();
    if (this.busy) return;
    this.busy = true;
    try {
      await this.fill(moment, (camera) => this.load(camera, moment));
    } finally {
      this.busy = false;
    }
    if (this.moment === null) this.back();
    else if (asked !== this.asked) await this.show(this.moment);
    else page.draw();
  }

  async fill(moment, load) {
    const { page } = this;
    await Promise.all(page.views.map(async (view) => {
      const image = this.cameras.includes(view.name)
        ? await load(view.name).catch(() => null) : null;
      if (this.moment === null && !this.playing) return;
      view.shown = image;
      view.drawImage();
    }));
    if (this.moment !== null || this.playing) this.away = `video, frame ${moment}`;
  }

  // back to the frame that is labelled
  leave() {
    this.endAround();
    if (this.moment === null && !this.away) return;
    this.moment = null;
    this.asked++;
    this.back();
  }

  back() {
    this.away = "";
    for (const view of this.page.views) {
      view.shown = null;
      view.redraw();
    }
    this.draw();
  }

  // the frames around the one that is labelled, over and over while the key is held
  async around() {
    const { here, page } = this;
    if (this.playing) return;
    if (here === null || this.count < 1) {
      throw new Error("There is no video of this frame to show what is around it.");
    }
    const frames = AROUND.map((offset) => here + offset).filter((m) => m >= 0 && m < this.count);
    const playing = {};
    this.playing = playing;
    this.away = "loading what is around";
    for (const view of page.views) view.draw();
    for (let i = 0; this.playing === playing; i = (i + 1) % frames.length) {
      await this.fill(frames[i], (camera) => this.load(camera, frames[i], true));
      if (this.playing !== playing) break;
      const by = frames[i] - here;
      this.away = by ? `${Math.abs(by)} frame${Math.abs(by) > 1 ? "s" : ""} ${by < 0 ? "before" : "after"}`
        : "this frame";
      for (const view of page.views) view.draw();
      await new Promise((resolve) => setTimeout(resolve, MS));
    }
  }

  endAround() {
    if (!this.playing) return;
    this.playing = null;
    this.moment = null;
    this.back();
  }

  // the moment that is looked at becomes one to label, in all cameras
  async add() {
    const { page, moment } = this;
    if (moment === null) return;
    const known = this.places().get(moment);
    if (known === undefined) {
      await call(`add/${at(page.labels.name)}`, { moment });
      await page.labels.reload();
      await page.taken;
    }
    const place = this.places().get(moment);
    if (place !== undefined) await page.go(place);
  }

  places() {
    return new Map(this.page.labels.moments.map(({ name }, m) => [Number(name), m]));
  }

  draw() {
    if (byId("timeline").hidden) return;
    const moment = this.moment ?? this.here ?? 0;
    byId("time").value = moment;
    const seconds = this.fps > 0 ? ` · ${(moment / this.fps).toFixed(2)} s` : "";
    byId("now").textContent = `frame ${moment} of ${this.count}${seconds}`;
    const known = this.places().has(moment);
    byId("add").textContent = known ? "Label this frame" : "Add this moment";
    byId("add").disabled = this.moment === null;
    this.drawTicks();
  }

  // which moments are there to label, and which of them have labels
  drawTicks() {
    const canvas = byId("ticks");
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const g = canvas.getContext("2d");
    g.clearRect(0, 0, width, height);
    const knob = 16;  // how far the ends of a slider's way are from its own
    for (const { name, labelled } of this.page.labels.moments) {
      if (!/^[0-9]+$/.test(name)) continue;
      const x = knob / 2 + (width - knob) * (Number(name) / Math.max(1, this.count - 1));
      const done = Object.values(labelled).some((count) => count > 0);
      g.fillStyle = done ? "#009e73" : "#e69f00";
      g.fillRect(Math.round(x) - 1, done ? 0 : height - 5, 2, 5);
    }
  }

  listen() {
    const slider = byId("time");
    const act = (promise) => promise.catch((error) => this.page.tell(error));
    slider.addEventListener("input", () => act(this.show(Number(slider.value))));
    slider.addEventListener("change", () => slider.blur());
    byId("add").addEventListener("click", ({ currentTarget }) => {
      currentTarget.blur();
      act(this.add());
    });
    window.addEventListener("resize", () => this.page.labels && this.draw());
  }
}
