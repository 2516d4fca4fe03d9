// What keys do to points: each is one step of the history.

import { at, call } from "./server.js";

export function place(page, view, xy, state = "clicked") {
  const { individual, keypoint } = page;
  page.labels.set([{ camera: view.name, individual, keypoint, after: { state, xy } }]);
  if (page.advanceOnClick) page.step(1);
}

// occluded (where it is, if that is known), absent, neither
export function cycleOccluded(page, xy = null) {
  const { individual, keypoint, focus, labels } = page;
  const point = labels.point(focus.name, individual, keypoint);
  const known = point?.xy ?? labels.offer(focus.name, individual, keypoint)?.xy ?? xy;
  const after = point?.state === "absent" ? null
    : point?.state === "occluded" ? { state: "absent", xy: null }
      : { state: "occluded", xy: known };
  labels.set([{ camera: focus.name, individual, keypoint, after }]);
}

export function accept(page, views, keypoints, individuals = [page.individual]) {
  const wanted = [];
  for (const { name } of views) {
    for (const individual of individuals) {
      for (const keypoint of keypoints) {
        const offer = page.labels.offer(name, individual, keypoint);
        if (!offer) continue;
        const after = { state: offer.state, xy: offer.xy };
        if (offer.likelihood != null) after.likelihood = offer.likelihood;
        wanted.push({ camera: name, individual, keypoint, after });
      }
    }
  }
  return page.labels.set(wanted);
}

export function clear(page, views) {
  const { individual, keypoint } = page;
  page.labels.set(
    views.map(({ name }) => ({ camera: name, individual, keypoint, after: null })));
}

export function swap(page, views) {
  const { individual } = page;
  const wanted = [];
  for (const { name } of views) {
    page.told.mirrored.forEach((partner, k) => {
      if (partner === k) return;
      const after = page.labels.point(name, individual, partner);
      wanted.push({ camera: name, individual, keypoint: k, after });
    });
  }
  page.labels.set(wanted);
}

// points that are missing here, from the nearest labelled frame before, in time
export async function copy(page) {
  const { labels } = page;
  const before = labels.moments.slice(0, labels.moment).findLast(
    ({ labelled }) => Object.values(labelled).some((count) => count > 0));
  if (!before) throw new Error("No frame before this one is labelled: there is nothing to copy.");
  const here = labels.moment;
  const told = await call(`moment/${at(labels.name, before.name)}`);
  if (labels.moment !== here) return;
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

export function nudge(page, dx, dy, far) {
  const { individual, keypoint, focus } = page;
  const point = page.labels.point(focus.name, individual, keypoint);
  if (!point?.xy) return;
  const size = far ? 5 : 0.5;
  const state = point.state === "occluded" ? "occluded" : "clicked";
  const xy = [point.xy[0] + dx * size, point.xy[1] + dy * size];
  page.labels.set([{ camera: focus.name, individual, keypoint, after: { state, xy } }]);
}

// offer what optical flow carries here from the nearest labelled frame of each camera
export async function flow(page, direction) {
  const { labels } = page;
  const here = labels.moments[labels.moment];
  if (!here) return;
  const told = await call(`flow/${at(labels.name, here.name, direction)}`);
  if (labels.moments[labels.moment] === here) labels.carry(told.points);
}
