"""The hot loop of bundle adjustment: Jacobians of board views, multiplied with themselves.

One function, `view_normals`, from arrays to arrays, in NumPy; `calibration.kernels` holds the
same compiled, which large jobs take.
"""

import numpy as np

from calibration import lenses
from calibration.compiling import kernels

#: Views whose Jacobians are held at once (about a megabyte: they stay in the cache).
_BLOCK = 64

#: Corners from which loading the compiled kernels pays (NumPy then takes a second for all
#: iterations of a calibration), and from which compiling them does.
_WORTH_LOADING = 10_000
_WORTH_COMPILING = 400_000


#: How the compiled code calls the lens models and the losses.
_MODELS = {"pinhole": 0, "brown": 1, "rational": 2, "fisheye": 3}
_LOSSES = {None: 0, "huber": 1, "tukey": 2}


def compiled(n_corners: int):
    """Return the compiled kernels for a job of so many corners, or None where NumPy is sooner."""
    return kernels(
        "calibration.kernels.views",
        n_corners,
        worth_loading=_WORTH_LOADING,
        worth_compiling=_WORTH_COMPILING,
    )


def compiled_lens(lens) -> tuple[int, np.ndarray]:
    """Return a lens as the kernels take it: model; fx, fy, cx, cy, skew, eight coefficients."""
    out = np.zeros(13)
    matrix = lens.matrix
    out[:5] = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], matrix[0, 1]
    out[5 : 5 + lens.dist.size] = lens.dist
    return _MODELS[lens.model], out


def compiled_loss(loss) -> tuple[int, float]:
    """Return a loss as the kernels take it."""
    kind, limit = (None, 0.0) if loss is None else loss
    return _LOSSES[kind], float(limit)


def view_normals(lens, rotations, translations, points, corners, used, loss):
    """Sum products of the Jacobian's columns over each view's corners: the hot loop.

    Parameters
    ----------
    lens : Intrinsics
        One camera's lens.
    rotations : ndarray of shape (n_views, 3, 3)
        Camera from board.
    translations : ndarray of shape (n_views, 3)
        The same; rotation increments leave them alone.
    points : ndarray of shape (n_corners, 3)
        Corners on the board.
    corners : ndarray of shape (n_views, n_corners, 2)
        Detected corners in pixels.
    used : ndarray of bool of shape (n_views, n_corners)
        Which of them count.
    loss : tuple of str and float, or None
        "huber" or "tukey" and the length in pixels where it bends; None for squares.

    Returns
    -------
    products : ndarray of shape (n_views, n + 1, n + 1)
        Columns are rotation increment (3), translation (3), fx, fy, cx, cy, coefficients, and
        last the residual: the last row is the gradient.
    cost : float
        Sum of the loss over all corners; infinite if one lies behind the camera.
    """
    n = 10 + lens.dist.size
    products = np.empty((len(rotations), n + 1, n + 1))
    fast = compiled(used.size)
    if fast is not None:
        views = (rotations, translations, points, corners, used)
        cost = fast.view_products(
            *compiled_lens(lens),
            n,
            *map(np.ascontiguousarray, views),
            *compiled_loss(loss),
            products,
        )
        return products, cost
    cost = 0.0
    columns = np.zeros((min(_BLOCK, len(rotations)), n + 1, 2, len(points)))
    for start in range(0, len(rotations), _BLOCK):
        block = slice(start, start + _BLOCK)
        count = len(rotations[block])
        view = columns[:count]
        turned = points @ np.swapaxes(rotations[block], 1, 2)
        cost += _fill_columns(
            view, lens, turned, translations[block], corners[block], used[block], loss
        )
        if not np.isfinite(cost):
            return products, np.inf
        flat = view.reshape(count, n + 1, -1)
        np.matmul(flat, np.swapaxes(flat, 1, 2), out=products[block])
    return products, cost


def _fill_columns(columns, lens, turned, translations, corners, used, loss):
    """Write weighted Jacobian and residual, (n_views, n + 1, 2, n_corners); return the loss."""
    tx, ty, tz = np.moveaxis(turned, -1, 0)
    x, y, z = np.moveaxis(turned + translations[:, np.newaxis], -1, 0)
    if np.any(used & (z <= 0)):
        return np.inf
    depth = np.where(z > 0, z, 1.0)
    points = np.stack([x / depth, y / depth], axis=-1)
    bent = lenses.distort(points, lens.dist, lens.model)
    slope = lens.matrix[:2, :2] @ lenses.distort_jacobian(points, lens.dist, lens.model)
    slope /= depth[..., np.newaxis, np.newaxis]
    residual = corners - (bent @ lens.matrix[:2, :2].T + lens.matrix[:2, 2])
    residual = np.where(used[..., np.newaxis], residual, 0.0)
    weight, cost = _weigh(residual, used, loss)
    if not np.isfinite(cost):
        return np.inf
    for row in range(2):
        # by the point in the camera
        by_x, by_y = slope[..., row, 0], slope[..., row, 1]
        by_z = -(by_x * points[..., 0] + by_y * points[..., 1])
        columns[:, 0, row] = by_z * ty - by_y * tz
        columns[:, 1, row] = by_x * tz - by_z * tx
        columns[:, 2, row] = by_y * tx - by_x * ty
        columns[:, 3, row] = by_x
        columns[:, 4, row] = by_y
        columns[:, 5, row] = by_z
        columns[:, 6 + row, row] = bent[..., row]
        columns[:, 7 - row, row] = 0.0
        columns[:, 8 + row, row] = 1.0
        columns[:, 9 - row, row] = 0.0
        columns[:, -1, row] = residual[..., row]
    skew = lens.matrix[0, 1]
    for k, (by_k_x, by_k_y) in enumerate(_coefficient_slopes(points, lens.dist, lens.model)):
        columns[:, 10 + k, 0] = lens.matrix[0, 0] * by_k_x + skew * by_k_y
        columns[:, 10 + k, 1] = lens.matrix[1, 1] * by_k_y
    columns *= np.sqrt(weight)[:, np.newaxis, np.newaxis]
    return cost


def _weigh(residual, used, loss):
    """Weights of the corners under a loss, and its sum."""
    square = (residual**2).sum(axis=-1)
    if loss is None:
        return used.astype(np.float64), float(square.sum())
    kind, limit = loss
    if kind == "huber":
        length = np.sqrt(square)
        far = length > limit
        weight = np.where(far, limit / np.maximum(length, limit), 1.0)
        cost = np.where(far, limit * (2 * length - limit), square)
    else:
        inside = np.maximum(0.0, 1.0 - square / limit**2)
        weight = inside**2
        cost = limit**2 / 3 * (1 - inside**3)
    return weight * used, float(cost[used].sum())


def _coefficient_slopes(points, dist, model):
    """Yield the derivatives of the bent x and y by each distortion coefficient."""
    if model == "pinhole":
        return
    x, y = points[..., 0], points[..., 1]
    r2 = x * x + y * y
    if model == "fisheye":
        r = np.sqrt(r2)
        theta = np.arctan(r)
        power = theta / np.maximum(r, 1e-12)
        for _ in range(4):
            power = power * theta**2
            yield x * power, y * power
        return
    up = down = 1.0
    if model == "rational":
        up = 1 + r2 * (dist[0] + r2 * (dist[1] + r2 * dist[4]))
        down = 1 + r2 * (dist[5] + r2 * (dist[6] + r2 * dist[7]))
    first = r2 / down
    second = r2 * first
    third = r2 * second
    yield x * first, y * first
    yield x * second, y * second
    yield 2 * x * y, r2 + 2 * y * y
    yield r2 + 2 * x * x, 2 * x * y
    yield x * third, y * third
    if model == "rational":
        for factor in (first, second, third):
            factor = -factor * up / down
            yield x * factor, y * factor
