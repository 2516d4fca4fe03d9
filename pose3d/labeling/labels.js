// The labels of one recording in the page: points, history, offers, and their way to the disk.

import { offerError, project, triangulate } from "./geometry.js";
import { at } from "./server.js";

// states whose place a person or a network found; reprojected ones follow from these
const EVIDENCE = new Set(["clicked", "predicted"]);
const key = (individual, keypoint) => `${individual}/${keypoint}`;

export class Labels extends EventTarget {
  constructor(told, recording, call) {
    super();
    this.told = told;
    this.call = call;
    this.tab = crypto.randomUUID();
    this.take(recording);
    this.queue = [];
    this.sending = false;
    this.trouble = "";
    this.conflicts = [];
    this.line = Promise.resolve();
    this.edits = 0;
    this.moment = 0;
    this.points = new Map();
    this.predicted = new Map();
    this.carried = new Map();
    this.solved = new Map();
    this.curves = new Map();
    this.lengths = [];
  }

  take(recording) {
    this.name = recording.name;
    this.moments = recording.moments;
    this.cameras = recording.cameras;
    this.units = recording.units;
    this.sequence = recording.sequence;
    this.counts = recording.counts;
    this.notices = recording.notices;
    this.undoable = recording.history.undo;
    this.redoable = recording.history.redo;
    this.where = new Map();
    recording.moments.forEach((moment, m) => {
      for (const [camera, image] of Object.entries(moment.images)) {
        this.where.set(JSON.stringify([camera, image]), m);
      }
    });
  }

  // one after the other: what waits for the server in between
  serial(work) {
    const done = this.line.then(work);
    this.line = done.catch(() => {});
    return done;
  }

  open(index) {
    return this.serial(() => this.openNow(index));
  }

  async openNow(index) {
    await this.settled();
    this.show(index, await this.call(this.address(index)));
  }

  address(index) {
    return `moment/${at(this.name, this.moments[index].name)}`;
  }

  show(index, told) {
    this.moment = index;
    this.sequence = Math.max(this.sequence, told.sequence);
    this.points = new Map();
    this.predicted = new Map();
    this.carried = new Map();
    for (const camera of this.cameras) {
      const own = new Map();
      for (const [i, k, point] of told.points[camera.name] ?? []) own.set(key(i, k), point);
      this.points.set(camera.name, own);
      const found = new Map();
      for (const [i, k, x, y, error] of told.predicted_3d[camera.name] ?? []) {
        found.set(key(i, k), { xy: [x, y], likelihood: null, error, from3d: true });
      }
      for (const [i, k, x, y, likelihood] of told.predicted[camera.name] ?? []) {
        if (!found.has(key(i, k))) found.set(key(i, k), { xy: [x, y], likelihood });
      }
      this.predicted.set(camera.name, found);
    }
    this.changed();
  }

  // points that optical flow carried here; told: by camera, [individual, keypoint, x, y, error]
  carry(told) {
    for (const [camera, points] of Object.entries(told)) {
      this.carried.set(camera, new Map(points.map(([i, k, x, y, error]) =>
        [key(i, k), { xy: [x, y], expected: error, carried: true }])));
    }
    this.changed();
  }

  changed() {
    this.solved = new Map();
    this.curves = new Map();
    this.dispatchEvent(new Event("change"));
  }

  point(camera, individual, keypoint) {
    return this.points.get(camera)?.get(key(individual, keypoint)) ?? null;
  }

  hasImage(camera) {
    return camera in (this.moments[this.moment]?.images ?? {});
  }

  // where cameras saw a keypoint, as triangulate() takes it; without: a view to leave out
  evidence(individual, keypoint, without = null) {
    const seen = [];
    for (const { name, lens } of this.cameras) {
      const point = this.point(name, individual, keypoint);
      if (lens && name !== without && point && EVIDENCE.has(point.state)) {
        seen.push({ name, lens, xy: point.xy });
      }
    }
    return seen;
  }

  // the triangulated point, where it projects, and how far each view is from it
  solve(individual, keypoint) {
    const at = key(individual, keypoint);
    if (this.solved.has(at)) return this.solved.get(at);
    const seen = this.evidence(individual, keypoint);
    const X = triangulate(seen);
    let solved = null;
    if (X) {
      solved = { X, views: new Map(), worst: null };
      const lenses = seen.map((view) => view.lens);
      for (const { name, lens } of this.cameras) {
        const xy = lens && project(X, lens);
        if (!xy) continue;
        const mine = seen.find((view) => view.name === name);
        const error = mine ? Math.hypot(mine.xy[0] - xy[0], mine.xy[1] - xy[1]) : null;
        solved.views.set(name, { xy, error, expected: offerError(X, lenses, lens) });
        if (error !== null && !(error <= (solved.worst?.error ?? -1))) {
          solved.worst = { name, error };
        }
      }
      // two views fit almost anything: their error says little
      const n = 2 * seen.length - 3;
      const squares = [...solved.views.values()].reduce((s, v) => s + (v.error ?? 0) ** 2, 0);
      solved.noise = Math.sqrt(squares / n);
      solved.count = seen.length;
    }
    this.solved.set(at, solved);
    return solved;
  }

  // rms error in px of the other views if one is left out; null where too few remain
  errorWithout(individual, keypoint, camera) {
    const rest = this.evidence(individual, keypoint, camera);
    const X = rest.length > 1 ? triangulate(rest) : null;
    if (!X) return null;
    const errors = rest.map(({ lens, xy }) => {
      const p = project(X, lens);
      return p ? (p[0] - xy[0]) ** 2 + (p[1] - xy[1]) ** 2 : Infinity;
    });
    return Math.sqrt(errors.reduce((a, b) => a + b) / errors.length);
  }

  // what is offered where nothing is labelled: by the other views, by optical flow, by a network
  offer(camera, individual, keypoint) {
    const view = this.cameras.find(({ name }) => name === camera);
    if (!this.hasImage(camera) || this.point(camera, individual, keypoint)) return null;
    const seen = this.solve(individual, keypoint)?.views.get(camera);
    if (seen && inside(seen.xy, view.lens.size)) {
      return { state: "reprojected", xy: seen.xy, expected: seen.expected };
    }
    const at = key(individual, keypoint);
    const found = this.carried.get(camera)?.get(at) ?? this.predicted.get(camera)?.get(at);
    return found ? { state: "predicted", ...found } : null;
  }

  // lengths that are far from usual, and views in which left and right look exchanged
  warnings() {
    const found = [];
    for (const usual of this.lengths) {
      const [a, b] = this.told.edges[usual.edge];
      const one = this.solve(usual.individual, a);
      const two = this.solve(usual.individual, b);
      if (!one || !two) continue;
      const length = Math.hypot(...one.X.map((value, i) => value - two.X[i]));
      const limit = Math.max(5 * usual.spread, 0.15 * usual.median);
      if (Math.abs(length - usual.median) > limit) {
        found.push(
          `${this.told.keypoints[a]} to ${this.told.keypoints[b]}: ${length.toFixed(1)} ` +
          `${this.units}, usually ${usual.median.toFixed(1)} ± ${usual.spread.toFixed(1)}`);
      }
    }
    this.told.mirrored.forEach((b, a) => {
      if (b <= a) return;
      this.told.individuals.forEach((_, i) => {
        for (const { name, lens } of this.cameras) {
          const left = this.point(name, i, a);
          const right = this.point(name, i, b);
          if (!lens || !EVIDENCE.has(left?.state) || !EVIDENCE.has(right?.state)) continue;
          const X = triangulate(this.evidence(i, a, name));
          const Y = triangulate(this.evidence(i, b, name));
          const p = X && project(X, lens);
          const q = Y && project(Y, lens);
          if (!p || !q) continue;
          const far = (s, t) => Math.hypot(s[0] - t[0], s[1] - t[1]);
          const asIs = far(left.xy, p) + far(right.xy, q);
          const exchanged = far(left.xy, q) + far(right.xy, p);
          if (asIs > 10 && exchanged < 0.3 * asIs) {
            found.push(
              `${this.told.keypoints[a]} and ${this.told.keypoints[b]} look exchanged in ${name}`);
          }
        }
      });
    });
    return found;
  }

  // set points of this moment: [{camera, individual, keypoint, after}]; what was reprojected from
  // them follows, in the same step of the history
  set(wanted) {
    const changes = [];
    const add = (camera, individual, keypoint, after) => {
      if (!this.hasImage(camera)) return;
      const before = this.point(camera, individual, keypoint);
      if (!before && !after) return;
      if (before && after && before.state === after.state &&
          JSON.stringify(before.xy) === JSON.stringify(after.xy)) return;
      this.put(camera, individual, keypoint, after);
      changes.push({
        camera,
        image: this.moments[this.moment].images[camera],
        individual: this.told.individuals[individual],
        keypoint: this.told.keypoints[keypoint],
        before: before && { state: before.state, xy: before.xy },
        after,
      });
    };
    const touched = new Map();
    for (const { camera, individual, keypoint, after } of wanted) {
      add(camera, individual, keypoint, after);
      touched.set(key(individual, keypoint), [individual, keypoint]);
    }
    this.solved = new Map();
    for (const [individual, keypoint] of touched.values()) {
      const solved = this.solve(individual, keypoint);
      for (const { name } of this.cameras) {
        const point = this.point(name, individual, keypoint);
        const seen = solved?.views.get(name);
        const fresh = wanted.some((w) =>
          w.camera === name && w.individual === individual && w.keypoint === keypoint);
        if (point?.state === "reprojected" && seen && !fresh) {
          add(name, individual, keypoint, { state: "reprojected", xy: seen.xy });
        }
      }
    }
    if (changes.length) {
      this.undoable.push(changes);
      this.redoable = [];
      this.send("change", changes);
    }
    this.changed();
    return changes.length > 0;
  }

  put(camera, individual, keypoint, point) {
    const own = this.points.get(camera);
    if (point) own.set(key(individual, keypoint), point);
    else own.delete(key(individual, keypoint));
  }

  undo() {
    return this.serial(() => this.travel("undo"));
  }

  redo() {
    return this.serial(() => this.travel("redo"));
  }

  async travel(kind) {
    const [from, to] = kind === "undo" ? [this.undoable, this.redoable]
      : [this.redoable, this.undoable];
    const step = from.pop();
    if (!step) return;
    to.push(step);
    const back = kind === "undo";
    const made = step.map((change) => ({
      ...change,
      before: back ? change.after : change.before,
      after: back ? change.before : change.after,
    }));
    if (back) made.reverse();
    const moment = this.where.get(JSON.stringify([step[0].camera, step[0].image]));
    if (moment !== undefined && moment !== this.moment) {
      await this.openNow(moment);
      this.dispatchEvent(new Event("moment"));
    }
    for (const { camera, individual, keypoint, after } of made) {
      this.put(
        camera, this.told.individuals.indexOf(individual),
        this.told.keypoints.indexOf(keypoint), after);
    }
    this.send(kind, made);
    this.changed();
  }

  send(kind, changes) {
    this.edits += 1;
    this.queue.push({ kind, changes, tab: this.tab });
    this.pump();
  }

  // send what waits, in order, until it is on the disk
  async pump() {
    if (this.sending) return;
    this.sending = true;
    let refused = false;
    while (this.queue.length) {
      this.dispatchEvent(new Event("saving"));
      try {
        const told = await this.call(`change/${at(this.name)}`, this.queue[0]);
        this.sequence = told.sequence;
        this.notices = told.notices;
        this.counts = told.counts;
        this.trouble = "";
        this.queue.shift();
      } catch (error) {
        if (error.status === 409 || error.status === 400) {
          this.conflicts.push(error.message);
          this.queue.shift();
          refused = true;
        } else {
          this.trouble = error.message;
          this.dispatchEvent(new Event("saving"));
          await new Promise((resolve) => setTimeout(resolve, 1000));
        }
      }
    }
    this.sending = false;
    if (refused) await this.reload();
    this.dispatchEvent(new Event("saving"));
  }

  async settled() {
    while (this.sending) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  // take everything from the server, unless something was changed here meanwhile
  reload() {
    return this.serial(async () => {
      for (;;) {
        await this.settled();
        const { edits } = this;
        const recording = await this.call(`recording/${at(this.name)}`);
        const told = this.moments.length ? await this.call(this.address(this.moment)) : null;
        if (edits !== this.edits) continue;
        const titles = () => JSON.stringify(
          [this.moments.map(({ images }) => images), this.cameras.map(({ lens }) => !lens)]);
        const before = titles();
        const here = this.moments[this.moment]?.name;
        this.take(recording);
        this.moment = Math.max(0, this.moments.findIndex(({ name }) => name === here));
        if (told) this.show(this.moment, told);
        if (titles() !== before) this.dispatchEvent(new Event("moments"));
        return;
      }
    });
  }

  // look whether another tab or program changed something
  async look() {
    if (this.sending) return;
    const { edits } = this;
    const told = await this.call(`status/${at(this.name)}`);
    if (edits !== this.edits) return;
    this.notices = told.notices;
    this.counts = told.counts;
    if (told.sequence !== this.sequence) await this.reload();
    this.dispatchEvent(new Event("saving"));
  }
}

export function inside([x, y], [width, height]) {
  return x >= -0.5 && y >= -0.5 && x <= width - 0.5 && y <= height - 0.5;
}
