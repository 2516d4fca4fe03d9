"""The inner loops of calibration, compiled by numba.

Importing one of these modules takes numba's import and, the first time on a machine, some ten
seconds of compilation, which numba keeps in its cache; so none is imported but through
`calibration.compiling`, which decides whether that pays. Sums run in one fixed order, whatever
the number of threads. `common` holds what they share, `views` the normal equations of board
views, `alone` the fit of one camera, `poses` homographies and the judging of poses, `lenses` and
`corners` lenses undone and corners of printed grids.
"""
