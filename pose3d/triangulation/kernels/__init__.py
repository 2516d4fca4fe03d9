"""Triangulation's inner loops, compiled by numba: what `locating` and `choosing` do in NumPy.

Imported through `calibration.compiling` alone, which decides whether that pays. `locating` is
what Python calls; `blocks` holds the work on some points at once, in loops so short that the
vector unit takes them; `choice` the search for views that agree.
"""
