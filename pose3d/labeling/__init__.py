"""Labelling in the browser, all views at once.

The map: `journal` (every change, at once, append-only), `folders` (the images and labels of one
camera), `moments` (which images were taken together), `changes` (what a page may change),
`session` (the labels of one recording while they are edited), `content` (what the page is told),
`orders` (which frame is next), `videos` (frames around a moment, moments chosen by hand), `flow`
(labels carried from frame to frame), `calibrating` (cameras placed by labels), `keys` (the
keymap), `server` (loopback alone).

``page.html`` and its modules: ``main.js`` (what is shown), ``labels.js`` (points, history, their
way to the disk), ``view.js`` and ``pointer.js`` (one camera), ``geometry.js`` (lenses,
triangulation, curves), ``keys.js`` and ``editing.js`` (what keys do), ``panel.js``, ``queue.js``,
``timeline.js`` and ``calibrating.js`` (what stands around).
"""
