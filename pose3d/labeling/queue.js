// The order in which moments are labelled, as the server tells it, and why each is where it is.

import { at, byId, call } from "./server.js";

export class Queue {
  constructor(page) {
    this.page = page;
    this.order = "frame";
    this.moments = [];
    this.why = [];
    this.told = [];
  }

  // moments as they were recorded
  reset() {
    this.order = "frame";
    byId("order").value = this.order;
    this.told = [];
    this.fill();
  }

  fill() {
    const { labels } = this.page;
    const places = new Map(labels.moments.map(({ name }, m) => [name, m]));
    const ordered = this.told.filter(([name]) => places.has(name));
    this.moments = ordered.map(([name]) => places.get(name));
    this.why = ordered.map(([, why]) => why);
    const there = new Set(this.moments);
    for (const m of places.values()) {  // images that came since
      if (!there.has(m)) {
        this.moments.push(m);
        this.why.push("");
      }
    }
    byId("moment").replaceChildren(...this.moments.map((m, place) => {
      const why = this.why[place] && ` · ${this.why[place]}`;
      return new Option(`frame ${labels.moments[m].name}${why}`, m);
    }));
    byId("moment").value = labels.moment;
  }

  async choose(order) {
    const { page } = this;
    const name = page.labels.name;
    byId("progress").textContent = "putting frames in order…";
    try {
      const told = await call(`queue/${at(name, order)}`);
      if (page.labels.name !== name) return;
      this.order = order;
      this.told = told.order;
      this.fill();
      if (order !== "frame" && this.moments.length) await page.go(this.moments[0]);
    } finally {
      byId("order").value = this.order;
      page.draw();
    }
  }

  place(moment) {
    return this.moments.indexOf(moment);
  }

  // the moment some places on; the first or last at the ends
  step(moment, by) {
    const place = this.place(moment) + by;
    return this.moments[Math.max(0, Math.min(this.moments.length - 1, place))];
  }

  // the next moment that answers a question, around the end
  next(moment, wanted) {
    const n = this.moments.length;
    for (let i = 1; i <= n; i++) {
      const found = this.moments[(this.place(moment) + i) % n];
      if (wanted(found)) return found;
    }
    return null;
  }
}
