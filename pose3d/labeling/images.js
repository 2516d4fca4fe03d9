// Images on their way to the views, the last few kept.

import { fetched } from "./server.js";

export class Images {
  constructor() {
    this.kept = new Map();
    this.most = 12;
  }

  // the image at an address of the server; it is asked for once
  load(path) {
    if (!this.kept.has(path)) {
      const bitmap = fetched(path)
        .then((answer) => answer.blob())
        .then((blob) => createImageBitmap(blob))
        .catch((error) => {
          this.kept.delete(path);
          throw error.status ? error : new Error("the image cannot be read");
        });
      this.kept.set(path, bitmap);
      while (this.kept.size > this.most) this.kept.delete(this.kept.keys().next().value);
    }
    return this.kept.get(path);
  }

  clear() {
    for (const image of this.kept.values()) image.then((bitmap) => bitmap?.close?.(), () => {});
    this.kept.clear();
  }
}
