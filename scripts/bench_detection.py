"""Time board detection against aniposelib in the same run, and measure its corners' errors.

CPU seconds of one core, pictures in memory, 1280 x 1024. "rendered": boards drawn through a
bending lens with 4 x 4 rays a pixel, blur 0.7 px, noise 2.5 grey levels, oblique and partly out of
the picture; every corner's true place is known. "mouse": 84 ChArUco pictures, and frames of the
animal without a board (POSE3D_DATA).

    python scripts/bench_detection.py [--pictures 20]
"""

import argparse
import os
import time
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import cv2  # noqa: E402  the number of threads must be set before
import numpy as np  # noqa: E402

from calibration.boards import CharucoBoard, Checkerboard  # noqa: E402
from calibration.cameras import Camera, Intrinsics  # noqa: E402
from calibration.detection import detect_board  # noqa: E402
from calibration.rotations import rotation_matrices  # noqa: E402

cv2.setNumThreads(1)
SIZE = (1280, 1024)
LENS = Intrinsics([[1050, 0, 646], [0, 1051, 505], [0, 0, 1]], [-0.2, 0.06, 0, 0, 0], SIZE)
FINE = 4


def marker_texture(board, px):
    """Draw a ChArUco board or checkerboard from squares and marker bits alone."""
    texture = np.full((board.squares_y * px, board.squares_x * px), 215.0, dtype=np.float32)
    bits, number = None, 0
    if isinstance(board, CharucoBoard):
        whole = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
        side = round(px * board.marker_length / board.square_length)
        margin = (px - side) // 2
        bits = whole
    for row in range(board.squares_y):
        for column in range(board.squares_x):
            part = texture[row * px : (row + 1) * px, column * px : (column + 1) * px]
            if (row + column) % 2 == 0:
                part[:] = 25.0
            elif bits is not None:
                marker = bits.generateImageMarker(number, side).astype(np.float32)
                part[margin : margin + side, margin : margin + side] = 25 + marker / 255 * 190
                number += 1
    return texture


def render(board, texture, px, pose, rng):
    """Return a picture and the true corners."""
    pad = px // 2
    ground = cv2.copyMakeBorder(texture, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=215.0)
    width, height = SIZE
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    # bending changes so slowly that straight lines between pixels are exact to 1e-5
    bent = LENS.undistort(grid.astype(np.float64))
    rays = [cv2.resize(bent[..., i], (width * FINE, height * FINE)) for i in range(2)]
    inverse = np.linalg.inv(pose[:3][:, [0, 1, 3]])
    on = [inverse[i, 0] * rays[0] + inverse[i, 1] * rays[1] + inverse[i, 2] for i in range(3)]
    place = [(on[i] / on[2] / board.square_length * px - 0.5 + pad) for i in range(2)]
    image = cv2.remap(
        ground, *(each.astype(np.float32) for each in place), cv2.INTER_LINEAR, borderValue=110.0
    )
    image = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
    image = cv2.GaussianBlur(image, (0, 0), 0.7) + rng.normal(0, 2.5, (height, width))
    camera = Camera("camera", LENS, np.zeros(3), np.zeros(3))
    truth = camera.project(board.corners @ pose[:3, :3].T + pose[:3, 3])
    return np.clip(np.round(image), 0, 255).astype(np.uint8), truth


def rendered(board, n_pictures, rng):
    """Return pictures of a board held at random, and the true corners of each."""
    px = 96
    texture = marker_texture(board, px)
    middle = np.array([board.squares_x, board.squares_y, 0]) * board.square_length / 2
    pictures = []
    while len(pictures) < n_pictures:
        lean, towards, spin = rng.uniform(0, 0.8), rng.uniform(0, 6.28), rng.uniform(-0.5, 0.5)
        turn = rotation_matrices([lean * np.cos(towards), lean * np.sin(towards), 0.0])
        pose = np.eye(4)
        pose[:3, :3] = turn @ rotation_matrices([0.0, 0.0, spin])
        depth = rng.uniform(500, 900)
        shift = rng.uniform(-0.25, 0.25, size=2) * depth
        if isinstance(board, Checkerboard):
            shift *= 0.5  # all of it must be in the picture
        pose[:3, 3] = np.array([*shift, depth]) - pose[:3, :3] @ middle
        image, truth = render(board, texture, px, pose, rng)
        inside = ((truth > 20) & (truth < np.array(SIZE) - 21)).all(axis=1)
        if inside.all() or isinstance(board, CharucoBoard):
            pictures.append((image, truth))
    return pictures


def aniposelib_board(board):
    """Return aniposelib's board."""
    from aniposelib import boards

    if isinstance(board, Checkerboard):
        return boards.Checkerboard(
            board.squares_x - 1, board.squares_y - 1, square_length=board.square_length
        )
    _, bits, size = board.dictionary.split("_")
    return boards.CharucoBoard(
        board.squares_x, board.squares_y, square_length=board.square_length,
        marker_length=board.marker_length, marker_bits=int(bits[0]), dict_size=int(size),
    )  # fmt: skip


def theirs(board):
    """Return aniposelib's detector as a function from picture to corners (n, 2)."""
    peer = aniposelib_board(board)

    def detect(image):
        try:
            corners, ids = peer.detect_image(image)
        except cv2.error:  # its refinement of nothing, in newer versions of OpenCV
            corners, ids = None, None
        found = np.full((board.n_corners, 2), np.nan)
        if corners is not None and ids is not None and len(ids):
            corners = np.asarray(corners).reshape(-1, 2)
            # it pairs what it found with the first numbers, even where that is not all
            found[np.ravel(ids)[: len(corners)]] = corners
        return found

    return detect


def timed(detect, images):
    """Return the corners of all pictures and CPU seconds a picture."""
    detect(images[0])
    start = time.process_time()
    found = [detect(image) for image in images]
    return found, (time.process_time() - start) / len(images)


def row(name, board, images, truths=None, few=None):
    """Print one comparison."""
    own, ours = timed(lambda image: detect_board(board, image), images)
    other, peer = timed(theirs(board), images[:few])
    count = [np.mean([np.isfinite(each[:, 0]).sum() for each in part]) for part in (own, other)]
    text = (f"{name:<34} {1 / ours:>8.1f} {1 / peer:>8.1f} {peer / ours:>6.1f} "
            f"{count[0]:>7.1f} {count[1]:>7.1f}")  # fmt: skip
    if truths is not None:
        for part in (own, other):
            off = np.concatenate([f - t for f, t in zip(part, truths, strict=False)])
            off = off[np.isfinite(off[:, 0])]
            far = np.linalg.norm(off, axis=1) > 1
            text += f" {np.sqrt(np.mean(off[~far] ** 2)):>8.3f} {100 * far.mean():>6.2f}"
    print(text, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=20, help="rendered pictures of each kind")
    count = parser.parse_args().pictures
    heads = ("ours", "peer", "ratio", "corners", "peer", "RMS px", "% > 1", "peer px", "% > 1")
    widths = (8, 8, 6, 7, 7, 8, 6, 8, 6)
    told = " ".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))
    print(f"{'pictures a second':<34} {told}")
    rng = np.random.default_rng(0)
    charuco = CharucoBoard(8, 11, 40.0, 30.0, "DICT_4X4_250")
    large = CharucoBoard(8, 11, 24.0, 18.75, "DICT_4X4_1000")
    checker = Checkerboard(8, 11, 40.0)
    for board, name in ((charuco, "rendered ChArUco 4x4_250"), (checker, "rendered checkerboard")):
        images, truths = zip(*rendered(board, count, rng), strict=True)
        row(name, board, images, truths)
    empty = []
    for _ in range(8):  # clutter: discs, bars and noise at many scales
        image = np.full(SIZE[::-1], 110, dtype=np.uint8)
        for _ in range(120):
            corner, size = rng.integers(0, 1000, 2), rng.integers(8, 200, 2)
            level = int(rng.integers(0, 255))
            cv2.rectangle(image, corner.tolist(), (corner + size).tolist(), level, -1)
            cv2.circle(image, rng.integers(0, 1000, 2).tolist(), int(size[0]), 255 - level, -1)
        empty.append(cv2.GaussianBlur(image, (0, 0), 1.0))
    data = os.environ.get("POSE3D_DATA")
    if data:
        folder = Path(data) / "sleap_anipose_minimal_session"
        files = sorted(folder.glob("*/calibration_images/*.jpg"))
        row("mouse ChArUco 4x4_1000", large, [cv2.imread(str(f), 0) for f in files], few=21)
        from calibration.video import read_frames

        videos = sorted(folder.glob("*/minimal_*.mp4"))
        frames = [
            frame.image
            for video in videos
            for frame in read_frames(video, frames=[10, 60], pixels="luma")
        ]
        kinds = (("clutter", empty), ("mouse videos", frames))
    else:
        kinds = (("clutter", empty),)
    for name, images in kinds:
        for board, kind in ((large, "ChArUco"), (checker, "checkerboard")):
            own, ours = timed(lambda i: detect_board(board, i, thorough=False), images)  # noqa: B023
            _, peer = timed(theirs(board), images[:4])
            wrong = sum(np.isfinite(each).any() for each in own)
            print(f"no board, {name}, {kind:<14} {1 / ours:>8.1f} {1 / peer:>8.1f} "
                  f"{peer / ours:>6.1f}   taken for a board: {wrong}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
