"""Labelling in the browser, all views at once.

The map: `journal` (every change, at once, append-only), `folders` (the images and labels of one
camera), `session` (the labels of one recording while they are edited), `content` (what the page
is told), `keys` (the keymap), `server` (loopback alone); ``page.html`` and its modules (``*.js``).
"""
