"""How a lens bends rays: the Brown, rational and fisheye models, both directions.

Points here are *normalised*: x / z and y / z in the camera. ``distort`` is the lens,
``undistort`` its inverse to machine precision, ``distort_jacobian`` its derivatives.

Sources
-------
Brown, Decentering distortion of lenses, 1966 (k1, k2, p1, p2, k3); OpenCV's rational model
(k4, k5, k6 in the denominator); Kannala and Brandt, 2006 (fisheye, equidistant).
Orders of the coefficients are OpenCV's.
"""

import numpy as np

from calibration.compiling import kernels

#: Number of distortion coefficients of each lens model, in OpenCV's order.
COEFFICIENTS = {"pinhole": 0, "brown": 5, "rational": 8, "fisheye": 4}

#: How compiled code calls the models, and points from which loading or compiling it pays.
_NUMBERS = {"pinhole": 0, "brown": 1, "rational": 2, "fisheye": 3}
_WORTH_LOADING = 100_000
_WORTH_COMPILING = 20_000_000


def _radial(r2, dist):
    """Return the radial factor of the Brown and rational models and its derivative by r2."""
    k1, k2, k3 = dist[0], dist[1], dist[4]
    up = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    d_up = k1 + r2 * (2 * k2 + r2 * 3 * k3)
    if len(dist) < 8:
        return up, d_up
    k4, k5, k6 = dist[5:8]
    down = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    d_down = k4 + r2 * (2 * k5 + r2 * 3 * k6)
    return up / down, (d_up * down - up * d_down) / down**2


def _theta_polynomial(theta, dist):
    """Return the distorted angle of a fisheye lens and its derivative."""
    k1, k2, k3, k4 = dist
    t2 = theta * theta
    bent = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
    slope = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
    return bent, slope


def distort(points: np.ndarray, dist: np.ndarray, model: str) -> np.ndarray:
    """Bend normalised points as the lens does.

    Parameters
    ----------
    points : ndarray of shape (..., 2)
        x / z and y / z in the camera.
    dist : ndarray of shape (n,)
        Distortion coefficients, OpenCV's order.
    model : {"pinhole", "brown", "rational", "fisheye"}
        The lens model.

    Returns
    -------
    ndarray of shape (..., 2)
        Normalised points on the sensor.
    """
    if model == "pinhole":
        return points
    x, y = points[..., 0], points[..., 1]
    r2 = x * x + y * y
    if model == "fisheye":
        r = np.sqrt(r2)
        bent, _ = _theta_polynomial(np.arctan(r), dist)
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.where(r > 1e-12, bent / r, 1.0)
        return points * scale[..., np.newaxis]
    p1, p2 = dist[2], dist[3]
    radial, _ = _radial(r2, dist)
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        axis=-1,
    )


def distort_jacobian(points: np.ndarray, dist: np.ndarray, model: str) -> np.ndarray:
    """Differentiate `distort` by the points.

    Parameters
    ----------
    points, dist, model
        See `distort`.

    Returns
    -------
    ndarray of shape (..., 2, 2)
        Rows are the bent x and y, columns the derivatives by x and y.
    """
    x, y = points[..., 0], points[..., 1]
    jacobian = np.empty((*points.shape, 2))
    if model == "pinhole":
        jacobian[...] = np.eye(2)
        return jacobian
    r2 = x * x + y * y
    if model == "fisheye":
        r = np.sqrt(r2)
        theta = np.arctan(r)
        bent, slope = _theta_polynomial(theta, dist)
        small = r < 1e-12
        safe = np.where(small, 1.0, r)
        scale = np.where(small, 1.0, bent / safe)
        # d(bent / r)/dr / r, so that the outer product below needs no unit vector
        growth = np.where(small, 0.0, (slope / (1 + r2) - scale) / safe**2)
        jacobian[..., 0, 0] = scale + growth * x * x
        jacobian[..., 0, 1] = jacobian[..., 1, 0] = growth * x * y
        jacobian[..., 1, 1] = scale + growth * y * y
        return jacobian
    p1, p2 = dist[2], dist[3]
    radial, growth = _radial(r2, dist)
    jacobian[..., 0, 0] = radial + 2 * growth * x * x + 2 * p1 * y + 6 * p2 * x
    jacobian[..., 0, 1] = 2 * growth * x * y + 2 * p1 * x + 2 * p2 * y
    jacobian[..., 1, 0] = jacobian[..., 0, 1]
    jacobian[..., 1, 1] = radial + 2 * growth * y * y + 6 * p1 * y + 2 * p2 * x
    return jacobian


def undistort(bent: np.ndarray, dist: np.ndarray, model: str) -> np.ndarray:
    """Undo `distort` by Newton's method, to machine precision where the lens can be undone.

    Parameters
    ----------
    bent : ndarray of shape (..., 2)
        Normalised points on the sensor.
    dist, model
        See `distort`.

    Returns
    -------
    ndarray of shape (..., 2)
        x / z and y / z in the camera; NaN where no ray of the model ends there (beyond the
        radius at which the polynomial turns back).
    """
    if model == "pinhole" or (model != "fisheye" and not np.any(dist)):
        return bent
    bent = np.asarray(bent, dtype=np.float64)
    fast = kernels(
        "calibration.kernels.lenses",
        bent.size // 2,
        worth_loading=_WORTH_LOADING,
        worth_compiling=_WORTH_COMPILING,
    )
    if fast is not None:
        out = np.empty(bent.shape)
        flat = np.ascontiguousarray(bent).reshape(-1, 2)
        # the kernel expects eight coefficients
        every = np.zeros(8)
        every[: len(dist)] = dist
        fast.undistort(_NUMBERS[model], every, flat, out.reshape(-1, 2))
        return out
    if model == "fisheye":
        return _undistort_fisheye(bent, dist)
    points = np.array(bent, dtype=np.float64)
    for _ in range(20):
        jacobian = distort_jacobian(points, dist, model)
        residual = distort(points, dist, model) - bent
        det = jacobian[..., 0, 0] * jacobian[..., 1, 1] - jacobian[..., 0, 1] * jacobian[..., 1, 0]
        with np.errstate(invalid="ignore", divide="ignore"):
            dx = jacobian[..., 1, 1] * residual[..., 0] - jacobian[..., 0, 1] * residual[..., 1]
            dy = jacobian[..., 0, 0] * residual[..., 1] - jacobian[..., 1, 0] * residual[..., 0]
            step = np.stack([dx, dy], axis=-1) / det[..., np.newaxis]
            # a step longer than the point itself means the model is turning back
            limit = 0.5 * (0.1 + np.linalg.norm(points, axis=-1, keepdims=True))
            length = np.linalg.norm(step, axis=-1, keepdims=True)
            step = np.where(length > limit, step * (limit / length), step)
        points = points - step
        if not np.nanmax(np.abs(step), initial=0.0) > 1e-8:
            break
    with np.errstate(invalid="ignore"):
        miss = np.linalg.norm(distort(points, dist, model) - bent, axis=-1)
        turned = (det <= 0) | ~(miss < 1e-9)
    return np.where(turned[..., np.newaxis], np.nan, points)


def _undistort_fisheye(bent, dist):
    """Undo the fisheye model: Newton on the angle."""
    r = np.linalg.norm(bent, axis=-1)
    theta = np.minimum(r, 1.5)
    with np.errstate(invalid="ignore", divide="ignore"):
        for _ in range(20):
            value, slope = _theta_polynomial(theta, dist)
            step = np.clip((value - r) / slope, -0.5, 0.5)
            theta = theta - step
            if not np.nanmax(np.abs(step), initial=0.0) > 1e-8:
                break
        value, slope = _theta_polynomial(theta, dist)
        good = (np.abs(value - r) < 1e-9) & (slope > 0) & (theta < np.pi / 2)
        scale = np.where(r > 1e-12, np.tan(theta) / np.where(r > 1e-12, r, 1.0), 1.0)
    return np.where(good[..., np.newaxis], bent * scale[..., np.newaxis], np.nan)
