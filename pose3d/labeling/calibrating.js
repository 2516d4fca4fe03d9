// Where there is no calibration: cameras placed by the labels, if one length is known.

import { at, byId, call, made } from "./server.js";

export class Calibrating {
  constructor(page) {
    this.page = page;
  }

  offer(possible) {
    byId("uncalibrated").hidden = !possible || this.page.views.length < 2;
  }

  async show() {
    const { told, labels } = this.page;
    const files = await call(`lenses/${at(labels.name)}`);
    byId("lenses").replaceChildren(
      ...files.map((name) => new Option(`of ${name}`, name)),
      new Option("not known: find the focal length too", ""));
    const bones = told.edges.map(([a, b]) => ["bone", told.keypoints[a], told.keypoints[b]]);
    const names = labels.cameras.map(({ name }) => name);
    const pairs = names.flatMap((a, i) => names.slice(i + 1).map((b) => ["cameras", a, b]));
    byId("between").replaceChildren(...[...bones, ...pairs].map((ends) => new Option(
      `${ends[0] === "bone" ? "" : "cameras "}${ends[1]} to ${ends[2]}`, JSON.stringify(ends))));
    byId("unit").textContent = labels.units;
    byId("placed").textContent = "";
    byId("placing").showModal();
  }

  async place() {
    const { labels } = this.page;
    const said = byId("placed");
    const length = Number(byId("length").value);
    if (!(length > 0)) {
      said.textContent = "Say how long it is.";
      return;
    }
    const [what, ...ends] = JSON.parse(byId("between").value);
    said.textContent = "Calibrating, which takes up to a minute…";
    byId("place").disabled = true;
    try {
      await labels.settled();
      const lenses = byId("lenses").value || null;
      const told = await call(`calibrate/${at(labels.name)}`, { length, lenses, [what]: ends });
      const failed = told.verdict === "FAIL";
      const px = `labels lie ${told.sigma_px.toFixed(2)} px from where they should`;
      const list = made("ul");
      list.append(...told.said.map((text) => made("li", text)));
      if (!failed) await this.page.open(labels.name, labels.moments[labels.moment]?.name);
      said.replaceChildren(made("b", failed
        ? "FAIL, not used: the labels do not determine the cameras."
        : `${told.verdict}: ${px}. Saved as ${told.path}.`), list);
    } catch (error) {
      said.textContent = error.message;
    } finally {
      byId("place").disabled = false;
    }
  }

  listen() {
    const act = (work) => work().catch((error) => this.page.tell(error));
    byId("calibrate").addEventListener("click", () => act(() => this.show()));
    byId("place").addEventListener("click", () => act(() => this.place()));
    byId("close").addEventListener("click", () => byId("placing").close());
  }
}
