// What the pointer does in a view: placing, dragging, panning, zooming.

import { cycleOccluded } from "./editing.js";

export function listen(view) {
  const { front, page, labels } = view;
  const place = (event) => {
    const box = front.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  // what a point becomes that a person moved
  const dragged = ({ before }) =>
    ({ state: before?.state === "occluded" ? "occluded" : "clicked" });
  let grip = null;
  front.addEventListener("pointerdown", (event) => {
    page.focusOn(view);
    if (event.button === 2 || page.away) return;
    front.setPointerCapture(event.pointerId);
    const start = place(event);
    grip = { start, last: start, moved: false, point: event.button ? null : view.pointAt(start) };
    if (grip.point) {
      page.select(...grip.point);
      grip.before = labels.point(view.name, ...grip.point);
    }
  });
  front.addEventListener("pointermove", (event) => {
    const now = place(event);
    page.pointer = { view, place: now };
    if (!grip) {
      if (page.magnified) view.draw();
      return;
    }
    if (Math.hypot(now[0] - grip.start[0], now[1] - grip.start[1]) > 3) grip.moved = true;
    if (!grip.moved) return;
    if (grip.point) {
      labels.put(view.name, ...grip.point, { ...dragged(grip), xy: view.toImage(now) });
      labels.changed();
    } else if (view.zoom > 1) {
      const [x, y] = view.middle;
      view.centre = [
        x - (now[0] - grip.last[0]) / view.scale, y - (now[1] - grip.last[1]) / view.scale];
      view.redraw();
    }
    grip.last = now;
  });
  front.addEventListener("pointerup", (event) => {
    if (!grip) return;
    const { point, before, moved } = grip;
    const state = dragged(grip);
    grip = null;
    if (point && moved) {
      labels.put(view.name, ...point, before);
      const after = { ...state, xy: view.toImage(place(event)) };
      labels.set([{ camera: view.name, individual: point[0], keypoint: point[1], after }]);
    } else if (!point && !moved && event.button === 0 && !event.shiftKey) {
      page.place(view, view.toImage(place(event)));
    }
  });
  front.addEventListener("pointercancel", () => {
    if (grip?.point) labels.put(view.name, ...grip.point, grip.before);
    grip = null;
    labels.changed();
  });
  front.addEventListener("pointerleave", () => {
    page.pointer = null;
    if (page.magnified) view.draw();
  });
  front.addEventListener("contextmenu", (event) => {
    event.preventDefault();
    page.focusOn(view);
    if (!page.away) cycleOccluded(page, view.toImage(place(event)));
  });
  front.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.zoomAt(place(event), Math.exp(-event.deltaY / 300));
  }, { passive: false });
  front.addEventListener("dblclick", (event) => {
    if (event.shiftKey) {
      view.whole();
      view.redraw();
    }
  });
}
