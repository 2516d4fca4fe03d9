// What each key does; which key it is stands in the project's keymap.

import * as edit from "./editing.js";
import { byId, made } from "./server.js";

function actions(page) {
  const all = () => page.told.keypoints.map((_, k) => k);
  const turn = (by) => {
    const n = page.views.length;
    page.focusOn(page.views[(page.views.indexOf(page.focus) + by + n) % n]);
  };
  const zoom = (factor) => page.focus.zoomAt([page.focus.width / 2, page.focus.height / 2], factor);
  return {
    next_moment: () => page.go(page.queue.step(page.labels.moment, 1)),
    previous_moment: () => page.go(page.queue.step(page.labels.moment, -1)),
    next_unlabelled: () => page.nextUnlabelled(),
    next_order: () => page.nextOrder(),
    next_keypoint: () => page.step(1),
    previous_keypoint: () => page.step(-1),
    next_individual: () =>
      page.select((page.individual + 1) % page.told.individuals.length, page.keypoint),
    next_view: () => turn(1),
    previous_view: () => turn(-1),
    place: () => {
      const offer = page.labels.offer(page.focus.name, page.individual, page.keypoint);
      edit.place(page, page.focus, offer?.xy ?? page.focus.middle);
    },
    accept_offers: () => {
      edit.accept(page, page.views, [page.keypoint]);
      page.step(1);
    },
    accept_offer: () => edit.accept(page, [page.focus], [page.keypoint]),
    accept_frame: () =>
      edit.accept(page, page.views, all(), page.told.individuals.map((_, i) => i)),
    occluded: () => edit.cycleOccluded(page),
    clear: () => edit.clear(page, [page.focus]),
    clear_all: () => edit.clear(page, page.views),
    undo: () => page.labels.undo(),
    redo: () => page.labels.redo(),
    swap: () => edit.swap(page, [page.focus]),
    swap_all: () => edit.swap(page, page.views),
    copy: () => edit.copy(page),
    flow: () => edit.flow(page, "before"),
    flow_back: () => edit.flow(page, "after"),
    context: () => page.timeline.around(),
    video_back: () => page.timeline.step(-1),
    video_on: () => page.timeline.step(1),
    video_far_back: () => page.timeline.step(-page.timeline.second),
    video_far_on: () => page.timeline.step(page.timeline.second),
    add_moment: () => page.timeline.add(),
    leave_video: () => page.timeline.leave(),
    left: (event) => edit.nudge(page, -1, 0, event.shiftKey),
    right: (event) => edit.nudge(page, 1, 0, event.shiftKey),
    up: (event) => edit.nudge(page, 0, -1, event.shiftKey),
    down: (event) => edit.nudge(page, 0, 1, event.shiftKey),
    zoom_in: () => zoom(1.3),
    zoom_out: () => zoom(1 / 1.3),
    zoom_keypoint: () => page.zoomKeypoint(),
    whole: () => page.views.forEach((view) => { view.whole(); view.redraw(); }),
    hide: () => page.hold("hidden", true),
    magnify: () => page.hold("magnified", true),
    advance: () => { page.advanceOnClick = !page.advanceOnClick; },
    brighter: () => page.focus.tune("brightness", 1.15),
    darker: () => page.focus.tune("brightness", 1 / 1.15),
    contrast_more: () => page.focus.tune("contrast", 1.15),
    contrast_less: () => page.focus.tune("contrast", 1 / 1.15),
    gamma_more: () => page.focus.tune("gamma", 1.2),
    gamma_less: () => page.focus.tune("gamma", 1 / 1.2),
    help: () => page.keys.show(),
  };
}

// what ends when its key is let go
const HELD = ["hide", "magnify", "context"];
// what can be done while a frame of the videos is looked at; all else returns to labelling first
const LOOKING = [
  "video_back", "video_on", "video_far_back", "video_far_on", "add_moment", "leave_video", "context",
  "help", "next_view", "previous_view", "zoom_in", "zoom_out", "whole", "brighter", "darker",
  "contrast_more", "contrast_less", "gamma_more", "gamma_less", "magnify",
];

function keyName(event) {
  let name = event.key === " " ? "Space" : event.key;
  if (name.length === 1 && !event.shiftKey) name = name.toLowerCase();  // caps lock
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  const shift = event.shiftKey && (name.length > 1 || control || /\p{Lu}/u.test(name));
  return `${control}${shift ? "Shift+" : ""}${control ? name.toLowerCase() : name}`;
}

export class Keys {
  constructor(page) {
    this.page = page;
    this.actions = actions(page);
    this.byKey = new Map(Object.entries(page.told.keys).map(([action, key]) => [key, action]));
  }

  listen() {
    document.addEventListener("keydown", (event) => this.down(event));
    document.addEventListener("keyup", (event) => {
      this.release(this.byKey.get(keyName(event)));
    });
    window.addEventListener("blur", () => HELD.forEach((action) => this.release(action)));
  }

  release(action) {
    if (action === "hide") this.page.hold("hidden", false);
    if (action === "magnify") this.page.hold("magnified", false);
    if (action === "context") this.page.timeline.endAround();
  }

  down(event) {
    const { page } = this;
    const dialog = document.querySelector("dialog[open]");
    if (!page.labels || (dialog && !(dialog.id === "help" && event.key === "?"))) return;
    const typing = /^(SELECT|INPUT)$/.test(event.target.tagName);
    if (typing && !event.ctrlKey) return;
    let name = keyName(event);
    if (name === "Ctrl+Shift+z") name = "Ctrl+y";
    const digit = /^[1-9]$/.exec(event.key);
    const action = this.byKey.get(name) ?? this.byKey.get(name.replace("Shift+Arrow", "Arrow"));
    if (!action && digit && !event.ctrlKey && Number(digit[0]) <= page.told.keypoints.length) {
      page.select(page.individual, Number(digit[0]) - 1);
      return;
    }
    if (!action) return;
    event.preventDefault();
    if (!(event.repeat && HELD.includes(action))) this.run(action, event);
  }

  // at once, so that a key is drawn in the frame in which it is pressed
  run(action, event = {}) {
    if (!LOOKING.includes(action)) this.page.timeline.leave();
    try {
      Promise.resolve(this.actions[action](event)).catch((error) => this.page.tell(error));
    } catch (error) {
      this.page.tell(error);
    }
  }

  show() {
    const dialog = byId("help");
    if (dialog.open) {
      dialog.close();
      return;
    }
    const { told } = this.page;
    dialog.querySelector("table").replaceChildren(
      ...Object.entries(told.help).map(([action, words]) => {
        const row = made("tr");
        const cell = made("td");
        cell.append(made("kbd", told.keys[action]));
        row.append(cell, made("td", words));
        return row;
      }));
    dialog.querySelector("p").textContent =
      "1 to 9 choose a keypoint. Click places it, drag moves it, right-click: occluded. Wheel " +
      "zooms, dragging beside points pans, Shift and double-click show the whole image. Other " +
      "keys: label-keys.yaml beside config.yaml.";
    dialog.showModal();
  }
}
