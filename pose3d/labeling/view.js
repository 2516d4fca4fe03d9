// One camera's image and the points on it: two canvases, so that a point costs no image.

import { epipolarCurve } from "./geometry.js";
import { listen } from "./pointer.js";
import { made, say } from "./server.js";
import { applyTuning } from "./tuning.js";

// Okabe and Ito's colours, told apart with any colour vision; black is left out
const COLOURS =
  ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#ffffff"];
export const colour = (keypoint) => COLOURS[keypoint % COLOURS.length];

// of an error in px: blue is good, yellow is doubtful, vermilion is bad
export const errorColour = (px) => (px < 2 ? "#56b4e9" : px < 5 ? "#f0e442" : "#d55e00");

export class View {
  constructor(camera, labels, page) {
    this.camera = camera;
    this.labels = labels;
    this.page = page;
    this.element = made("div", "", "view");
    this.back = document.createElement("canvas");
    this.front = document.createElement("canvas");
    this.caption = made("div", "", "caption");
    this.bar = made("i", "", "bar");
    this.element.append(this.back, this.front, this.caption, this.bar);
    this.image = null;
    this.shown = null;  // a frame of the video that is looked at in its place
    this.message = "";
    this.tuning = { brightness: 1, contrast: 1, gamma: 1 };
    this.whole();
    listen(this);
  }

  get name() {
    return this.camera.name;
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.element.clientWidth;
    this.height = this.element.clientHeight;
    for (const canvas of [this.back, this.front]) {
      canvas.width = Math.max(1, Math.round(this.width * ratio));
      canvas.height = Math.max(1, Math.round(this.height * ratio));
    }
    this.ratio = ratio;
    this.drawImage();
    this.draw();
  }

  // pixels on the page per image pixel when the whole image is shown
  get fit() {
    const image = this.shown ?? this.image;
    if (!image) return 1;
    return Math.min(this.width / image.width, this.height / image.height);
  }

  whole() {
    this.zoom = 1;
    this.centre = null;
  }

  get scale() {
    return this.fit * this.zoom;
  }

  get middle() {
    const image = this.shown ?? this.image;
    return this.centre ?? (image ? [image.width / 2 - 0.5, image.height / 2 - 0.5] : [0, 0]);
  }

  // pixel (0, 0) is the centre of the top-left pixel
  toPage([x, y]) {
    const [cx, cy] = this.middle;
    return [(x - cx) * this.scale + this.width / 2, (y - cy) * this.scale + this.height / 2];
  }

  toImage([u, v]) {
    const [cx, cy] = this.middle;
    return [(u - this.width / 2) / this.scale + cx, (v - this.height / 2) / this.scale + cy];
  }

  zoomAt(place, factor) {
    const held = this.toImage(place);
    this.zoom = Math.max(1, Math.min(60, this.zoom * factor));
    if (this.zoom === 1) this.centre = null;
    else {
      this.centre = [
        held[0] - (place[0] - this.width / 2) / this.scale,
        held[1] - (place[1] - this.height / 2) / this.scale,
      ];
    }
    this.redraw();
  }

  zoomOn(xy, zoom = 4) {
    this.zoom = Math.max(zoom, this.zoom);
    this.centre = [...xy];
    this.redraw();
  }

  redraw() {
    this.drawImage();
    this.draw();
  }

  drawImage() {
    const g = this.back.getContext("2d", { alpha: false });
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.fillStyle = "#000";
    g.fillRect(0, 0, this.back.width, this.back.height);
    const image = this.shown ?? this.image;
    if (!image) return;
    const [x, y] = this.toPage([-0.5, -0.5]);
    const s = this.scale * this.ratio;
    g.setTransform(s, 0, 0, s, x * this.ratio, y * this.ratio);
    g.imageSmoothingEnabled = this.scale < 3;
    g.drawImage(image, 0, 0);
  }

  tune(what, factor) {
    this.tuning[what] = Math.max(0.2, Math.min(8, this.tuning[what] * factor));
    applyTuning(this.back, this.page.views.indexOf(this), this.tuning);
  }

  draw() {
    const g = this.front.getContext("2d");
    g.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    g.clearRect(0, 0, this.width, this.height);
    const { labels, page } = this;
    this.element.classList.toggle("focus", page.focus === this);
    const message = page.away || this.message;
    say(this.caption, message ? `${this.name}: ${message}` : `${this.name}  ${this.progress()}`);
    if (!this.image || page.hidden || page.away) return;
    const i = page.individual;
    this.drawBones(g, i);
    labels.told.individuals.forEach((_, other) => {
      if (other !== i) this.drawPoints(g, other, 0.45);
    });
    this.drawCurves(g, i, page.keypoint);
    this.drawPoints(g, i, 1);
    if (page.magnified && page.pointer && page.pointer.view === this) this.drawMagnifier(g);
  }

  // how much of this camera's images is labelled
  showShare(share) {
    const width = `${100 * share}%`;
    if (this.bar.style.width === width) return;
    this.bar.style.width = width;
    this.bar.title = `${Math.round(100 * share)} % of this view's points`;
  }

  progress() {
    const n = this.labels.told.keypoints.length;
    let done = 0;
    for (let k = 0; k < n; k++) if (this.labels.point(this.name, this.page.individual, k)) done++;
    return `${done}/${n}`;
  }

  drawBones(g, i) {
    g.lineWidth = 1;
    g.strokeStyle = "rgba(255,255,255,0.45)";
    for (const [a, b] of this.labels.told.edges) {
      const one = this.labels.point(this.name, i, a)?.xy;
      const two = this.labels.point(this.name, i, b)?.xy;
      if (!one || !two) continue;
      g.beginPath();
      g.moveTo(...this.toPage(one));
      g.lineTo(...this.toPage(two));
      g.stroke();
    }
  }

  drawCurves(g, i, k) {
    const { lens } = this.camera;
    if (!lens || this.labels.point(this.name, i, k)) return;
    const paths = this.labels.evidence(i, k).filter(({ name }) => name !== this.name)
      .map(({ name, lens: other, xy }) => this.curve(name, i, k, xy, other));
    if (!paths.length) return;
    // curves are kept in pixels of the image: at another zoom the same ones are drawn
    const [x, y] = this.toPage([0, 0]);
    g.save();
    g.transform(this.scale, 0, 0, this.scale, x, y);
    for (const [style, width] of [["rgba(0,0,0,0.7)", 3], [colour(k), 1.25]]) {
      g.strokeStyle = style;
      g.lineWidth = width / this.scale;
      for (const path of paths) g.stroke(path);
    }
    g.restore();
  }

  // on how large a scale a curve is drawn decides how finely it is followed
  curve(name, i, k, xy, other) {
    const { curves } = this.labels;
    const step = Math.max(2, 10 / this.scale);
    const at = `${name}>${this.name}/${i}/${k}`;
    const known = curves.get(at);
    if (known && known.step <= step) return known.path;
    const path = new Path2D();
    for (const run of epipolarCurve(xy, other, this.camera.lens, step)) {
      run.forEach(([x, y], n) => (n ? path.lineTo(x, y) : path.moveTo(x, y)));
    }
    curves.set(at, { step, path });
    return path;
  }

  drawPoints(g, i, opacity) {
    g.globalAlpha = opacity;
    const { labels, page } = this;
    const said = [];
    for (let k = 0; k < labels.told.keypoints.length; k++) {
      const current = i === page.individual && k === page.keypoint;
      const point = labels.point(this.name, i, k);
      const offer = point ? null : labels.offer(this.name, i, k);
      const at = point?.xy ?? offer?.xy;
      if (!at) continue;
      const [x, y] = this.toPage(at);
      const seen = point ? labels.solve(i, k)?.views.get(this.name) : null;
      this.mark(g, x, y, point?.state ?? "offer", colour(k), (current ? 6 : 4) * page.size, offer);
      if (seen && seen.error !== null && labels.solve(i, k).count > 2) {
        g.strokeStyle = errorColour(seen.error);
        g.lineWidth = 2;
        g.beginPath();
        g.arc(x, y, 9 * page.size, 0, 7);
        g.stroke();
      }
      const words = this.words(k, current, seen, offer);
      if (words) said.push([words, x + 11 * page.size, y - 7 * page.size]);
    }
    // words over all marks
    g.font = `${12 * page.size}px system-ui, sans-serif`;
    g.lineWidth = 3;
    g.strokeStyle = "rgba(0,0,0,0.8)";
    g.fillStyle = "#fff";
    for (const place of said) {
      g.strokeText(...place);
      g.fillText(...place);
    }
    g.globalAlpha = 1;
  }

  words(k, current, seen, offer) {
    const parts = current ? [this.labels.told.keypoints[k]] : [];
    if (current && seen?.error != null) parts.push(`${seen.error.toFixed(1)} px`);
    if (offer?.expected != null && current) parts.push(`± ${offer.expected.toFixed(1)} px`);
    if (offer?.likelihood != null) parts.push(offer.likelihood.toFixed(2));
    return parts.join("  ");
  }

  // shapes tell states apart without colour: disc clicked, square reprojected, triangle from a
  // network, crossed disc occluded; rings offered: dashed by other views, dotted by flow
  mark(g, x, y, state, fill, r, offer) {
    g.lineWidth = 1.5;
    g.beginPath();
    if (state === "reprojected") g.rect(x - r + 1, y - r + 1, 2 * r - 2, 2 * r - 2);
    else if (state === "predicted") {
      g.moveTo(x, y - r);
      g.lineTo(x + r, y + r * 0.8);
      g.lineTo(x - r, y + r * 0.8);
      g.closePath();
    } else g.arc(x, y, state === "offer" ? r + 1 : r, 0, 7);
    if (state === "offer") {
      g.strokeStyle = "rgba(0,0,0,0.8)";
      g.lineWidth = 4;
      g.stroke();
      g.strokeStyle = fill;
      g.lineWidth = 2;
      g.setLineDash(offer.state === "reprojected" ? [3, 2] : offer.carried ? [1, 2] : []);
      g.stroke();
      g.setLineDash([]);
      return;
    }
    g.fillStyle = fill;
    if (state !== "occluded") g.fill();
    g.strokeStyle = "#000";
    g.stroke();
    if (state === "occluded") {
      g.strokeStyle = fill;
      g.stroke();
      g.moveTo(x - r, y - r);
      g.lineTo(x + r, y + r);
      g.moveTo(x + r, y - r);
      g.lineTo(x - r, y + r);
      g.stroke();
    }
  }

  drawMagnifier(g) {
    const [u, v] = this.page.pointer.place;
    const [x, y] = this.toImage([u, v]);
    const r = 80;
    const s = this.scale * 4;
    g.save();
    g.beginPath();
    g.arc(u, v, r, 0, 7);
    g.clip();
    g.imageSmoothingEnabled = false;
    g.fillStyle = "#000";
    g.fillRect(u - r, v - r, 2 * r, 2 * r);
    const { width, height } = this.image;
    g.drawImage(this.image, u - (x + 0.5) * s, v - (y + 0.5) * s, width * s, height * s);
    g.restore();
    g.strokeStyle = "#fff";
    g.lineWidth = 1.5;
    g.beginPath();
    g.arc(u, v, r, 0, 7);
    g.moveTo(u - 6, v);
    g.lineTo(u + 6, v);
    g.moveTo(u, v - 6);
    g.lineTo(u, v + 6);
    g.stroke();
  }

  // the labelled point under the pointer: [individual, keypoint], or null
  pointAt(place) {
    let best = null;
    let least = 9;
    this.labels.told.individuals.forEach((_, i) => {
      for (let k = 0; k < this.labels.told.keypoints.length; k++) {
        const xy = this.labels.point(this.name, i, k)?.xy;
        if (!xy) continue;
        const [x, y] = this.toPage(xy);
        // between equals, the one that is being labelled
        const far = Math.hypot(x - place[0], y - place[1]) -
          (i === this.page.individual && k === this.page.keypoint ? 1 : 0);
        if (far < least) {
          least = far;
          best = [i, k];
        }
      }
    });
    return best;
  }
}
