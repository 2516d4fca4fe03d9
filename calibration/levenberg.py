"""Levenberg-Marquardt on cameras and rigid boards, the boards eliminated."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from calibration.arrays import float_array
from calibration.boards import BoardDetections
from calibration.cameras import Camera, CameraRig
from calibration.compiling import compile_kernels
from calibration.errors import CalibrationError
from calibration.normals import compiled, compiled_lens, compiled_loss, view_normals
from calibration.rotations import cross_matrix, rotation_matrices, rotation_vectors

#: A focal length stays within this factor of what was believed beforehand.
_FOCAL_FACTOR = 4.0


def parameters(camera: Camera) -> np.ndarray:
    """Return a camera's parameters in the order of `CameraRig.covariance`.

    The rotation is an increment and so zero.
    """
    matrix = camera.intrinsics.matrix
    lens = [matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], *camera.intrinsics.dist]
    return np.concatenate([np.zeros(3), camera.tvec, lens])


def _place(camera):
    """Return rotation and translation as the kernels take them."""
    return np.ascontiguousarray(camera.rotation), np.ascontiguousarray(camera.tvec)


def _behind():
    """Return the error for boards that start behind a camera."""
    return CalibrationError(
        "A board starts behind a camera that saw it: the first poses contradict each other."
    )


class Adjustment:
    """The fixed part of an adjustment: corners, board, what is free; methods act on states.

    A state is a tuple of cameras and the poses of the known moments, (n_known, 4, 4).

    Parameters
    ----------
    rig, detections, board_poses, free
        See `calibration.bundle.bundle_adjust`.
    priors : sequence of (mean, precision), optional
        Per camera, what is believed beforehand of its parameters (shapes (n_parameters,) and
        (n_parameters, n_parameters); precision in square pixels per square unit, 0 where
        nothing is).
    """

    def __init__(
        self,
        rig: CameraRig,
        detections: BoardDetections,
        board_poses: np.ndarray,
        free: Sequence[np.ndarray],
        priors: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
    ):
        poses = float_array("board_poses", board_poses, (len(detections.frames), 4, 4))
        if detections.cameras != rig.names:
            raise ValueError(
                f"detections are of the cameras {', '.join(detections.cameras)}; "
                f"the rig has {', '.join(rig.names)}."
            )
        self.points = np.array(detections.board.corners)
        self.corners = np.ascontiguousarray(detections.corners)
        self.known = np.isfinite(poses).all(axis=(1, 2)) & detections.n_seen.any(axis=0)
        if not self.known.any():
            raise CalibrationError(
                "No board pose is known at the start. Record moments at which a camera sees "
                "most of the board."
            )
        self.start = (rig.cameras, np.ascontiguousarray(poses[self.known]))
        free = [np.array(mask, dtype=bool) for mask in free]
        free[0][:6] = False
        self.free = free
        ends = np.cumsum([mask.sum() for mask in free])
        self.columns = [slice(end - mask.sum(), end) for end, mask in zip(ends, free, strict=True)]
        self.n_free = int(ends[-1])
        self.priors = priors
        # moments, among the known, at which each camera saw anything
        seen = detections.n_seen[:, self.known] > 0
        self.moments = [np.flatnonzero(row) for row in seen]
        self.frames = np.flatnonzero(self.known)
        n_corners = int(detections.n_seen[:, self.known].sum())
        self.compiled = compiled(n_corners)

    def views(self, state):
        """Yield camera, its index, and the poses of the boards it saw, in its coordinates."""
        cameras, poses = state
        for i, camera in enumerate(cameras):
            moments = self.moments[i]
            rotations = camera.rotation @ poses[moments, :3, :3]
            swing = poses[moments, :3, 3] @ camera.rotation.T
            yield i, camera, moments, rotations, swing

    def residuals(self, state):
        """Return detected minus projected corners of the known moments, NaN elsewhere."""
        out = np.full(self.corners.shape, np.nan)
        if self.compiled is not None:
            cameras, poses = state
            for i, camera in enumerate(cameras):
                self.compiled.view_residuals(
                    *compiled_lens(camera.intrinsics),
                    *_place(camera),
                    poses,
                    self.moments[i],
                    self.frames[self.moments[i]],
                    self.points,
                    self.corners[i],
                    out[i],
                )
            return out
        for i, camera, moments, rotations, swing in self.views(state):
            points = self.points @ np.swapaxes(rotations, 1, 2) + (swing + camera.tvec)[:, None]
            seen = self.frames[moments]
            out[i, seen] = self.corners[i, seen] - camera.intrinsics.project(points)
        return out

    def lengths(self, state):
        """Return the reprojection errors of the known moments, NaN elsewhere."""
        residuals = self.residuals(state)
        return np.sqrt(residuals[..., 0] ** 2 + residuals[..., 1] ** 2)

    def normals(self, state, used, loss):
        """Build the normal equations.

        Parameters
        ----------
        state : tuple
        used : ndarray of bool of shape (n_cameras, n_frames, n_corners)
        loss : tuple of str, ndarray, ndarray, or None
            Kind, and for every camera the length in px where it bends and its weight; None for
            squares.

        Returns
        -------
        cost : float
            The loss; infinite where a corner lies behind its camera.
        cameras : ndarray (n_free, n_free), their gradient (n_free,)
        boards : ndarray (n_known, 6, 6), their gradient (n_known, 6)
        mixed : ndarray (n_known, 6, n_free)
        """
        if self.compiled is not None:
            return self._compiled_normals(state, used, loss)
        n_known = len(state[1])
        cost = 0.0
        cam = np.zeros((self.n_free, self.n_free))
        cam_gradient = np.zeros(self.n_free)
        boards = np.zeros((n_known, 6, 6))
        board_gradient = np.zeros((n_known, 6))
        mixed = np.zeros((n_known, 6, self.n_free))
        for i, camera, moments, rotations, swing in self.views(state):
            limit = None if loss is None else (loss[0], loss[1][i])
            weight = 1.0 if loss is None else loss[2][i]
            frames = self.frames[moments]
            square, view_cost = view_normals(
                camera.intrinsics,
                rotations,
                swing + camera.tvec,
                self.points,
                self.corners[i, frames],
                used[i, frames],
                limit,
            )
            cost += weight * view_cost
            if not np.isfinite(cost):
                return np.inf, None, None, None, None, None
            square *= weight
            # pose in the camera by the board's increments: turned into the camera's axes
            turn = np.zeros((6, 6))
            turn[:3, :3] = turn[3:, 3:] = camera.rotation
            boards[moments] += turn.T @ square[:, :6, :6] @ turn
            board_gradient[moments] += square[:, -1, :6] @ turn
            # ... and by the camera's: its turn swings the board about the camera
            lever = np.tile(np.eye(6), (len(moments), 1, 1))
            lever[:, 3:, :3] = -cross_matrix(swing)
            square[:, :6] = np.swapaxes(lever, 1, 2) @ square[:, :6]
            free = np.flatnonzero(self.free[i])
            mixed[moments, :, self.columns[i]] = np.swapaxes(square[:, free, :6] @ turn, 1, 2)
            square[:, :, :6] = square[:, :, :6] @ lever
            total = square.sum(axis=0)
            cam[self.columns[i], self.columns[i]] = total[np.ix_(free, free)]
            cam_gradient[self.columns[i]] = total[free, -1]
            cost += self._believe(i, camera, cam, cam_gradient)
        return cost, cam, cam_gradient, boards, board_gradient, mixed

    def _compiled_normals(self, state, used, loss):
        """Build the normal equations in compiled code, in the same order."""
        cameras, poses = state
        n_known = len(poses)
        cost = 0.0
        cam = np.zeros((self.n_free, self.n_free))
        cam_gradient = np.zeros(self.n_free)
        boards = np.zeros((n_known, 6, 6))
        board_gradient = np.zeros((n_known, 6))
        mixed = np.zeros((n_known, 6, self.n_free))
        for i, camera in enumerate(cameras):
            moments = self.moments[i]
            limit = None if loss is None else (loss[0], loss[1][i])
            columns, free = self.columns[i], self.free[i]
            total = np.empty((camera.n_parameters + 1,) * 2)
            cost += self.compiled.camera_normals(
                *compiled_lens(camera.intrinsics),
                camera.n_parameters,
                *_place(camera),
                poses,
                moments,
                self.frames[moments],
                self.points,
                self.corners[i],
                used[i],
                *compiled_loss(limit),
                1.0 if loss is None else float(loss[2][i]),
                free,
                columns.start,
                boards,
                board_gradient,
                mixed,
                total,
            )
            if not np.isfinite(cost):
                return np.inf, None, None, None, None, None
            rows = np.flatnonzero(free)
            cam[columns, columns] = total[np.ix_(rows, rows)]
            cam_gradient[columns] = total[rows, -1]
            cost += self._believe(i, camera, cam, cam_gradient)
        return cost, cam, cam_gradient, boards, board_gradient, mixed

    def _believe(self, i, camera, cam, cam_gradient):
        """Add what is believed of a camera beforehand to its equations; return the loss."""
        if self.priors is None:
            return 0.0
        free, columns = self.free[i], self.columns[i]
        mean, precision = self.priors[i]
        precision = precision[np.ix_(free, free)]
        off = (mean - parameters(camera))[free]
        cam[columns, columns] += precision
        cam_gradient[columns] += precision @ off
        return float(off @ precision @ off)

    def reduce(self, system, damping):
        """Eliminate the boards; returns the cameras' system and what brings the boards back."""
        _, cam, cam_gradient, boards, board_gradient, mixed = system
        diagonal = np.arange(6)
        boards = boards.copy()
        size = np.sqrt(boards[:, diagonal, diagonal])
        size = np.where(size > 0, size, 1.0)
        boards /= size[:, :, np.newaxis] * size[:, np.newaxis]
        # the small constant stands for a board that its corners hardly hold
        boards[:, diagonal, diagonal] = 1.0 + damping + 1e-12
        root = np.linalg.inv(np.linalg.cholesky(boards)) / size[:, np.newaxis]
        white = (root @ mixed).reshape(6 * len(boards), self.n_free)
        white_gradient = np.einsum("fij,fj->fi", root, board_gradient)
        reduced = cam - white.T @ white
        reduced[np.diag_indices(self.n_free)] += damping * cam.diagonal()
        return reduced, cam_gradient - white.T @ white_gradient.ravel(), root, white_gradient

    def step(self, system, damping):
        """Solve for the increments of cameras (n_free,) and boards (n_known, 6)."""
        reduced, gradient, root, white_gradient = self.reduce(system, damping)
        change = np.zeros(self.n_free)
        if self.n_free:
            size = np.sqrt(np.maximum(reduced.diagonal(), 1e-300))
            scaled = reduced / (size[:, np.newaxis] * size)
            lower = np.linalg.cholesky(scaled)
            change = np.linalg.solve(lower.T, np.linalg.solve(lower, gradient / size)) / size
        white = white_gradient - np.einsum("fij,fj->fi", root, system[5] @ change)
        return change, np.einsum("fji,fj->fi", root, white)

    def focal_range(self, i):
        """Return the focal lengths (fx, fy) between which a camera stays."""
        if self.priors is None:
            return np.zeros(2), np.full(2, np.inf)
        mean = self.priors[i][0][6:8]
        return mean / _FOCAL_FACTOR, mean * _FOCAL_FACTOR

    def moved(self, state, change, board_change):
        """Apply increments; None where a focal length would become absurd."""
        cameras, poses = state
        new = []
        for i, camera in enumerate(cameras):
            delta = np.zeros(camera.n_parameters)
            delta[self.free[i]] = change[self.columns[i]]
            matrix = camera.intrinsics.matrix.copy()
            matrix[[0, 1, 0, 1], [0, 1, 2, 2]] += delta[6:10]
            low, high = self.focal_range(i)
            focal = matrix[[0, 1], [0, 1]]
            if not (np.isfinite(delta).all() and np.all((focal > low) & (focal < high))):
                return None
            lens = replace(
                camera.intrinsics, matrix=matrix, dist=camera.intrinsics.dist + delta[10:]
            )
            rotation = rotation_matrices(delta[:3]) @ camera.rotation
            rvec = rotation_vectors(rotation) if delta[:3].any() else camera.rvec
            new.append(Camera(camera.name, lens, rvec, camera.tvec + delta[3:6]))
        poses = poses.copy()
        poses[:, :3, :3] = rotation_matrices(board_change[:, :3]) @ poses[:, :3, :3]
        poses[:, :3, 3] += board_change[:, 3:]
        return tuple(new), poses

    def minimise(self, state, used, loss, tolerance, max_iterations):
        """Levenberg-Marquardt from a state; returns the state and the number of systems solved."""
        if self.compiled is not None and len(state[0]) == 1 and not self.free[0][:6].any():
            return self._minimise_alone(state, used, loss, tolerance, max_iterations)
        damping = 1e-4
        system = self.normals(state, used, loss)
        if not np.isfinite(system[0]):
            raise _behind()
        iteration = 0
        while iteration < max_iterations and damping <= 1e8:
            iteration += 1
            try:
                trial = self.moved(state, *self.step(system, damping))
            except np.linalg.LinAlgError:
                trial = None
            new = (np.inf,) if trial is None else self.normals(trial, used, loss)
            if new[0] <= system[0]:
                fall = (system[0] - new[0]) / max(system[0], 1e-30)
                state, system = trial, new
                damping = max(damping / 10, 1e-12)
                if fall < tolerance:
                    break
            else:
                damping *= 10
        return state, iteration

    def _minimise_alone(self, state, used, loss, tolerance, max_iterations):
        """Fit one camera's lens and its boards in compiled code."""
        (camera,), poses = state
        moments = self.moments[0]
        frames = self.frames[moments]
        model, lens = compiled_lens(camera.intrinsics)
        n = camera.n_parameters
        rotations = np.ascontiguousarray(camera.rotation @ poses[moments, :3, :3])
        translations = poses[moments, :3, 3] @ camera.rotation.T + camera.tvec
        limit = None if loss is None else (loss[0], loss[1][0])
        weight = 1.0 if loss is None else float(loss[2][0])
        mean, precision = np.zeros(n), np.zeros((n, n))
        if self.priors is not None:
            mean, precision = self.priors[0]
        iteration = compile_kernels("calibration.kernels.alone").fit_alone(
            model,
            lens,
            n,
            rotations,
            translations,
            self.points,
            np.ascontiguousarray(self.corners[0, frames]),
            np.ascontiguousarray(used[0, frames]),
            *compiled_loss(limit),
            np.flatnonzero(self.free[0]),
            np.ascontiguousarray(mean),
            np.ascontiguousarray(precision / weight),
            *self.focal_range(0),
            tolerance,
            max_iterations,
        )
        if iteration < 0:
            raise _behind()
        matrix = camera.intrinsics.matrix.copy()
        matrix[[0, 1, 0, 1], [0, 1, 2, 2]] = lens[:4]
        dist = lens[5 : 5 + camera.intrinsics.dist.size]
        fitted = replace(camera.intrinsics, matrix=matrix, dist=dist)
        poses = poses.copy()
        poses[moments, :3, :3] = camera.rotation.T @ rotations
        poses[moments, :3, 3] = (translations - camera.tvec) @ camera.rotation
        return ((Camera(camera.name, fitted, camera.rvec, camera.tvec),), poses), iteration

    def uncertainty(self, state, used):
        """Return the standard deviation of a coordinate and the covariance of all cameras."""
        system = self.normals(state, used, None)
        n_boards = np.count_nonzero(used.any(axis=(0, 2)))
        spare = 2 * np.count_nonzero(used) - self.n_free - 6 * n_boards
        if spare <= 0:
            raise CalibrationError(
                f"{np.count_nonzero(used)} corners are not enough for {self.n_free} unknowns of "
                f"the cameras and {n_boards} board poses. Record more moments."
            )
        variance = system[0] / spare
        side = sum(len(mask) for mask in self.free)
        covariance = np.zeros((side, side))
        if self.n_free:
            reduced, *_ = self.reduce(system, 0.0)
            size = np.sqrt(np.maximum(reduced.diagonal(), 1e-300))
            inverse = np.linalg.pinv(reduced / (size[:, np.newaxis] * size), hermitian=True)
            rows = np.flatnonzero(np.concatenate(self.free))
            covariance[np.ix_(rows, rows)] = variance * inverse / (size[:, np.newaxis] * size)
        return float(np.sqrt(variance)), covariance
