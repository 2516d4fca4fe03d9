"""Steps: draw a board to print, detect boards in videos."""

import os
import shutil
from pathlib import Path

from calibration.results import Outcome

_MM_PER_INCH = 25.4


def draw_board(
    out: str | os.PathLike,
    *,
    board: str | os.PathLike | None = None,
    squares_x: int = 7,
    squares_y: int = 5,
    square_length: float = 30.0,
    marker_length: float = 22.0,
    dictionary: str = "DICT_4X4_50",
    units: str = "mm",
    checkerboard: bool = False,
    dpi: int = 300,
    overwrite: bool = False,
) -> Outcome:
    """Draw a board to print at its true size, and write its board.toml beside it.

    Print without scaling, glue it on something flat, and measure the ruler drawn below it: if
    it is not as long as it says, put the measured lengths into board.toml.

    Parameters
    ----------
    out : path
        The picture to write: .png, or .pdf which keeps its size whatever opens it.
    board : path
        The board.toml to draw, instead of the options below.
    squares_x, squares_y : int
        Squares across and down.
    square_length, marker_length : float
        Sides of a square and of a marker.
    dictionary : str
        The ArUco dictionary.
    units : str
        Unit of the lengths.
    checkerboard : bool
        Whether to draw a plain checkerboard instead of a ChArUco board. ChArUco is better: its
        corners count one by one, so that the board may be partly covered or out of the picture.
    dpi : int
        Dots per inch of the picture.
    overwrite : bool
        Write over a picture that is there.
    """
    import cv2
    import numpy as np

    from calibration.board_images import board_image
    from calibration.boards import CharucoBoard, Checkerboard
    from calibration.cameras import METRES
    from calibration.errors import DataError
    from calibration.files import atomic_path
    from calibration.formats.boards import load_board, save_board
    from calibration.recognition import describe

    out = Path(out)
    if out.suffix.lower() not in (".png", ".pdf"):
        raise ValueError(f"out is {out}; expected a name that ends in .png or .pdf.")
    if out.exists() and not overwrite:
        raise ValueError(f"{out} is there. Give another name, or --overwrite.")
    if board:
        drawn, described = load_board(board), Path(board)
    else:
        drawn, described = (
            Checkerboard(squares_x, squares_y, square_length, units)
            if checkerboard
            else CharucoBoard(
                squares_x, squares_y, square_length, marker_length, dictionary, units
            ),
            out.with_suffix(".toml"),
        )
        try:
            taken = described.exists() and load_board(described) != drawn
        except DataError:  # something else, perhaps a calibration
            taken = True
        if taken:
            raise ValueError(
                f"{described} exists and describes something else. Choose another name than "
                f"{out}, remove that file, or draw the board it describes with --board."
            )
    mm = METRES[drawn.units] / METRES["mm"]
    px_per_square = round(drawn.square_length * mm / _MM_PER_INCH * dpi)
    if not 20 <= px_per_square <= 4000:
        raise ValueError(
            f"A square of {drawn.square_length:g} {drawn.units} is {px_per_square} pixels at "
            f"{dpi} dpi; expected 20 to 4000. Choose another dpi, or check the unit."
        )
    picture = board_image(drawn, px_per_square)
    # the ruler: as many whole squares as fit, so that it is to the pixel what the squares are
    background = 0 if getattr(drawn, "inverted", False) else 255
    margin = px_per_square // 2
    sheet = cv2.copyMakeBorder(
        picture, margin, 2 * margin, margin, margin, cv2.BORDER_CONSTANT, value=background
    )
    length = drawn.squares_x * px_per_square
    top = margin + picture.shape[0] + margin // 2
    ink = 255 - background
    sheet[top : top + max(2, px_per_square // 60), margin : margin + length] = ink
    for i in range(drawn.squares_x + 1):
        x = margin + i * px_per_square
        sheet[top - px_per_square // 10 : top + px_per_square // 10, max(0, x - 1) : x + 1] = ink
    text = f"{describe(drawn)}; ruler {drawn.squares_x * drawn.square_length:g} {drawn.units}"
    scale = px_per_square / 180
    width = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]
    scale *= min(1.0, length / width)
    place = (margin, top + round(0.35 * px_per_square))
    thick = max(1, round(2 * scale))
    cv2.putText(sheet, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thick, cv2.LINE_AA)
    true_dpi = px_per_square / (drawn.square_length * mm) * _MM_PER_INCH
    with atomic_path(out) as temporary:
        data = _pdf(sheet, true_dpi) if out.suffix.lower() == ".pdf" else _png(sheet, true_dpi)
        temporary.write_bytes(data)
    if not board:
        save_board(drawn, described)
    height, width = np.array(sheet.shape) / true_dpi * _MM_PER_INCH
    return Outcome(
        out,
        f"{describe(drawn)}; print at 100 %: {width:.0f} x {height:.0f} mm with its margin. "
        f"Measure the ruler. Its description is {described}.",
        figures={"board": str(described), "width_mm": float(width), "height_mm": float(height)},
    )


def _png(image, dpi):
    """Encode a grey picture that knows its size on paper."""
    import struct
    import zlib

    import cv2

    data = cv2.imencode(".png", image)[1].tobytes()
    per_metre = round(dpi / _MM_PER_INCH * 1000)
    chunk = b"pHYs" + struct.pack(">IIB", per_metre, per_metre, 1)
    chunk = struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk))
    # after the signature (8 bytes) and the header's chunk (25 bytes)
    return data[:33] + chunk + data[33:]


def _pdf(image, dpi):
    """Wrap a grey picture into a page of its size."""
    import zlib

    height, width = image.shape
    page = [side * 72 / dpi for side in (width, height)]
    pixels = zlib.compress(image.tobytes(), 9)
    content = f"q {page[0]:.4f} 0 0 {page[1]:.4f} 0 0 cm /Im Do Q".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {page[0]:.4f} {page[1]:.4f}] "
            "/Resources << /XObject << /Im 4 0 R >> >> /Contents 5 0 R >>"
        ).encode(),
        (
            f"<< /Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace "
            f"/DeviceGray /BitsPerComponent 8 /Filter /FlateDecode /Length {len(pixels)} >>\n"
        ).encode()
        + b"stream\n" + pixels + b"\nendstream",
        f"<< /Length {len(content)} >>\nstream\n".encode() + content + b"\nendstream",
    ]  # fmt: skip
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    start = len(data)
    count = len(objects) + 1
    data += f"xref\n0 {count}\n0000000000 65535 f \n{table}".encode()
    return data + (
        f"trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    )


def detect_boards(
    videos: str | os.PathLike,
    *,
    board: str | os.PathLike,
    out: str | os.PathLike = "detections.h5",
    cameras: list[str] | None = None,
) -> Outcome:
    """Detect a board in the videos or pictures of several cameras.

    Parameters
    ----------
    videos : path
        Folder with a video, or a folder of pictures, of the board per camera.
    board : path
        The board.toml that describes the board.
    out : path
        The file to write; it is kept if nothing has changed since it was made.
    cameras : list of str
        Names of the cameras; found in the names of files and folders unless told.
    """
    import numpy as np
    from tqdm import tqdm

    from calibration.files import provenance, same_origin
    from calibration.formats.boards import load_board
    from calibration.formats.detections import load_detections, read_origin, save_detections
    from calibration.recognition import describe
    from calibration.searching import detect_boards as search
    from calibration.searching import find_camera_videos

    out = Path(out)
    described = load_board(board)
    sources = find_camera_videos(videos, cameras)
    inputs = {"board": Path(board), **sources}
    origin = provenance("detect_boards", {"cameras": list(sources)}, inputs)
    if out.exists() and same_origin(read_origin(out), origin):
        detections = load_detections(out)
    else:
        with tqdm(desc="detect boards", unit="picture", disable=None) as bar:

            def show(done, total):
                bar.total = total
                bar.update(done - bar.n)

            # what is found is kept camera by camera: an interrupted search goes on
            kept = out.with_name(f".{out.stem}.searched")
            detections = search(described, sources, progress=show, keep=kept)
        save_detections(detections, out, origin)
        shutil.rmtree(kept, ignore_errors=True)
    n_seen = detections.n_seen
    table = tuple(
        {
            "camera": name,
            "image": "{} x {}".format(*detections.image_sizes[i]),
            "boards": int((n_seen[i] > 0).sum()),
            "corners": int(n_seen[i].sum()),
            "whole boards": int((n_seen[i] == detections.board.n_corners).sum()),
        }
        for i, name in enumerate(detections.cameras)
    )
    found = describe(detections.board)
    if detections.board != described:
        found += f" (not the {describe(described)}, as {Path(board).name} says)"
    shared = int(((n_seen > 0).sum(axis=0) >= 2).sum())
    return Outcome(
        out,
        f"Found the {found} at {len(detections.frames)} moments, at "
        f"{shared} of them in two cameras or more.",
        table,
        {"n_moments": len(detections.frames), "n_shared": shared, "corners": int(np.sum(n_seen))},
    )
