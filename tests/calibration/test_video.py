"""Every test picture carries its own number as bright and dark blocks."""

import itertools
import os
import shutil
import struct
import threading
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest

from calibration.errors import DataError, DataWarning
from calibration.planes import Planes, to_planes, to_ycc
from calibration.video import (
    FOLDER_FPS,
    VideoWriter,
    count_frames,
    frame_times,
    image_files,
    probe_video,
    read_frame,
    read_frames,
    read_image,
    write_image,
)

SIZE = (160, 96)


def numbered(number):
    """A picture whose eight blocks spell a number."""
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for bit in range(8):
        image[16:80, 2 + bit * 20 : 18 + bit * 20] = 230 * (number >> bit & 1) + 10
    return image


def number_in(image):
    """The number that a picture spells."""
    row = image[48] if image.ndim == 2 else image[48, :, 1]
    return sum((int(row[10 + bit * 20]) > 128) << bit for bit in range(8))


def encode(path, codec="libx264", n_frames=60, *, pix_fmt="yuv420p", b_frames=3, stamps=None):
    """Write numbered frames with a codec; GOPs of 12; stamps in milliseconds."""
    with av.open(str(path), "w") as container:
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = SIZE
        stream.pix_fmt = pix_fmt
        stream.codec_context.gop_size = 12
        stream.codec_context.max_b_frames = b_frames
        for number in range(n_frames):
            frame = av.VideoFrame.from_ndarray(numbered(number), "rgb24")
            if stamps is not None:
                frame.pts, frame.time_base = stamps[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return encode(tmp_path_factory.mktemp("video") / "b frames %02d ünï.mp4")


def write_numbered(path, n_frames=60):
    with VideoWriter(path, 25) as writer:
        for number in range(n_frames):
            writer.write(numbered(number))
    return path


def cut(path, part):
    """Cut a file off."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path


CODECS = {
    "h264.mp4": ("libx264", "yuv420p", 3),
    "hevc.mp4": ("libx265", "yuv420p", 3),
    "mpeg4.mp4": ("mpeg4", "yuv420p", 0),
    "h264.mkv": ("libx264", "yuv420p", 3),
    "h264.avi": ("libx264", "yuv420p", 2),
    "mpeg4.avi": ("mpeg4", "yuv420p", 2),
    "mjpeg.avi": ("mjpeg", "yuvj420p", 0),
    "h264.ts": ("libx264", "yuv420p", 3),
    "mpeg2.mpg": ("mpeg2video", "yuv420p", 2),
    "vp9.webm": ("libvpx-vp9", "yuv420p", 0),
    "grey.mkv": ("ffv1", "gray", 0),
}


@pytest.mark.parametrize("name", CODECS)
def test_frame_i_is_frame_i_by_reading_on_and_by_jumping(tmp_path, rng, name):
    codec, pix_fmt, b_frames = CODECS[name]
    path = encode(tmp_path / name, codec, pix_fmt=pix_fmt, b_frames=b_frames)
    read = [(frame.index, number_in(frame.image)) for frame in read_frames(path, pixels="luma")]
    assert read == [(number, number) for number in range(60)]
    assert count_frames(path) == 60
    np.testing.assert_allclose(frame_times(path), np.arange(60) / 25, atol=1e-3)
    for _ in range(10):
        wanted = rng.choice(60, size=rng.integers(1, 6), replace=False)
        jumped = list(read_frames(path, frames=wanted))
        assert [frame.index for frame in jumped] == sorted(wanted)
        assert [number_in(frame.image) for frame in jumped] == sorted(wanted)
        np.testing.assert_allclose([f.time for f in jumped], np.sort(wanted) / 25, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("sleap_two_flies/20190128_113421.120s.mp4", [0, 1, 249, 250, 251, 700]),
        # 4:4:4 by an old x264, which only the first packet tells
        ("dlc_openfield/videos/m3v1mp4.mp4", [190, 200, 400]),
        ("lp_mirror_mouse/videos/test_vid.mp4", [300, 301, 500]),
    ],
)
def test_real_videos_jump_to_the_frames_they_read_in_order(data_folder, name, wanted):
    path = data_folder / name
    frames = read_frames(path, pixels="luma")
    straight = {f.index: f.image for f in itertools.islice(frames, wanted[-1] + 1)}
    frames.close()
    for frame in read_frames(path, frames=wanted, pixels="luma"):
        np.testing.assert_array_equal(frame.image, straight[frame.index])
    np.testing.assert_array_equal(read_frame(path, wanted[1], pixels="luma"), straight[wanted[1]])


def test_luma_is_the_brightness_of_rgb_at_full_range(tmp_path):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[np.newaxis], 64, axis=0)
    with VideoWriter(tmp_path / "ramp.mp4", 25, crf=1) as writer:
        writer.write(ramp)
    luma = read_frame(tmp_path / "ramp.mp4", 0, pixels="luma")
    rgb = read_frame(tmp_path / "ramp.mp4", 0)
    assert np.abs(luma.astype(int) - ramp).max() <= 2
    assert np.abs(rgb.astype(int) - ramp[..., np.newaxis]).max() <= 2


def test_full_range_video_is_not_stretched(tmp_path):
    path = encode(tmp_path / "full.avi", "mjpeg", 2, pix_fmt="yuvj420p", b_frames=0)
    luma = read_frame(path, 1, pixels="luma")
    assert abs(int(luma[48, 10]) - 240) <= 3  # block 0 of picture 1 was painted 240
    assert abs(int(luma[48, 30]) - 10) <= 3


def turn(video, path):
    """Copy a video, to be shown turned by a quarter."""
    data = bytearray(video.read_bytes())
    matrix = data.find(b"tkhd") + 44
    data[matrix : matrix + 36] = struct.pack(
        ">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, SIZE[1] << 16, 0, 1 << 30
    )
    path.write_bytes(data)
    return path


def test_rotation_is_applied_to_pictures_and_size(video, tmp_path):
    turned = turn(video, tmp_path / "turned.mp4")
    assert probe_video(turned).image_size == SIZE[::-1]
    upright = read_frame(video, 5, pixels="luma")
    np.testing.assert_array_equal(read_frame(turned, 5, pixels="luma"), np.rot90(upright, -1))


def test_times_show_the_gap_that_a_recorder_left(tmp_path):
    stamps = [40 * number + (800 if number >= 20 else 0) for number in range(40)]
    path = encode(tmp_path / "gap.mp4", n_frames=40, stamps=stamps)
    np.testing.assert_allclose(frame_times(path), np.array(stamps) / 1000, atol=1e-3)
    read = list(read_frames(path, frames=[19, 20, 39]))
    assert [number_in(frame.image) for frame in read] == [19, 20, 39]
    np.testing.assert_allclose([frame.time for frame in read], [0.76, 1.6, 2.36], atol=1e-3)


def test_frames_hidden_by_an_edit_list_do_not_count(video, tmp_path):
    path = tmp_path / "trimmed.mp4"
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for position, packet in enumerate(source.demux(stream)):
            if packet.dts is not None and position >= 12:
                # stamps below zero are what "-ss -c copy" leaves before the edit list
                packet.pts -= int(17 / 25 / packet.time_base)
                packet.dts -= int(17 / 25 / packet.time_base)
                packet.stream = copy
                target.mux(packet)
    assert count_frames(path) == 43
    assert [number_in(f.image) for f in read_frames(path)] == list(range(17, 60))
    assert number_in(read_frame(path, 20)) == 37


def test_a_file_cut_off_gives_what_it_holds_and_says_so(tmp_path):
    path = cut(write_numbered(tmp_path / "cut.mp4"), 0.6)
    with pytest.warns(DataWarning, match=r"cut\.mp4 claims 60 frames but holds \d+") as caught:
        read = [(frame.index, number_in(frame.image)) for frame in read_frames(path)]
    assert 20 < len(read) < 50
    assert read == [(number, number) for number in range(len(read))]
    assert f"holds {len(read)}" in str(caught[0].message)
    with pytest.warns(DataWarning, match=f"holds {len(read)}"):
        assert count_frames(path) == len(read)


def test_a_cut_file_without_frame_count_is_judged_by_its_duration(tmp_path):
    path = cut(encode(tmp_path / "cut.mkv"), 0.6)
    with pytest.warns(DataWarning, match=r"claims 2\.40 s but ends at"):
        read = [number_in(frame.image) for frame in read_frames(path)]
    assert read == list(range(len(read)))


def test_a_frame_that_does_not_decode_keeps_its_number(tmp_path):
    path = encode(tmp_path / "broken.avi", "mjpeg", pix_fmt="yuvj420p", b_frames=0)
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data)) if data[i : i + 3] == b"\xff\xd8\xff"]
    length = starts[8] - starts[7] - 16  # the next chunk starts with its own header
    data[starts[7] : starts[7] + length] = bytes(length)
    path.write_bytes(data)
    with pytest.warns(DataWarning, match="claims 60 frames but holds 59"):
        read = [(frame.index, number_in(frame.image)) for frame in read_frames(path)]
    assert read == [(number, number) for number in range(60) if number != 7]
    with pytest.raises(DataError, match=r"Frame 7 of .*broken\.avi cannot be read"):
        read_frame(path, 7)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"just some text that is no video at all", "is not a video"),
        (b"#EXTM3U\n#EXTINF:1,\nother.mp4\n", "is not a video"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "is not a video"),
        (b"\x00\x00\x00\x18ftypisom" + bytes(2000), "cannot be opened|never finished"),
    ],
)
def test_what_is_no_video_is_refused_by_name(tmp_path, data, message):
    path = tmp_path / "film.mp4"
    path.write_bytes(data)
    for read in (probe_video, count_frames, lambda path: list(read_frames(path))):
        with pytest.raises(DataError, match=message) as caught:
            read(path)
        assert "film.mp4" in str(caught.value)


def test_an_unfinished_recording_is_told_from_other_damage(video, tmp_path):
    path = tmp_path / "unfinished.mp4"
    shutil.copy(video, path)
    cut(path, 0.6)  # its index was at the end
    with pytest.raises(DataError, match=r"never finished: its index \(moov\) is missing"):
        probe_video(path)


def test_a_missing_video_is_named_before_anything_is_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no video .*gone\.mp4"):
        read_frames(tmp_path / "gone.mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(DataError, match="not a regular file"):
        read_frames(tmp_path / "pipe.mp4")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = write_numbered(tmp_path / "growing.mp4", 20)
    frames = read_frames(path)
    next(frames)
    with open(path, "ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match="changed while it was read"):
        list(frames)


def test_a_video_that_changes_size_is_refused(tmp_path):
    path = tmp_path / "sizes.ts"
    other = tmp_path / "other.ts"
    encode(path, n_frames=12)
    with av.open(str(other), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(12):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes() + other.read_bytes())
    with pytest.raises(DataError, match="changes from 160 x 96 to 64 x 64"):
        list(read_frames(path))


def test_frames_beyond_the_end_are_named(video):
    with pytest.warns(DataWarning, match=r"2 of the frames asked for cannot be read \(60, 99\)"):
        read = list(read_frames(video, frames=[99, 3, 60]))
    assert [frame.index for frame in read] == [3]
    with pytest.raises(DataError, match="it has frames 0 to 59"):
        read_frame(video, 60)
    with pytest.raises(ValueError, match="counted from 0"):
        read_frames(video, frames=[-1])


def test_memory_does_not_grow_with_the_length(tmp_path):
    def peak(n_frames):
        path = encode(tmp_path / f"{n_frames}.mp4", n_frames=n_frames)
        tracemalloc.start()
        for _ in read_frames(path):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    picture = SIZE[0] * SIZE[1] * 3
    peak(20)
    assert peak(400) - peak(40) < picture


def test_videos_are_read_in_threads_side_by_side(video):
    found = {}

    def read(thread):
        found[thread] = [number_in(f.image) for f in read_frames(video, frames=range(0, 60, 7))]

    threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert list(found.values()) == [list(range(0, 60, 7))] * 4


def test_a_reader_given_up_half_way_leaves_the_file_free(tmp_path):
    path = write_numbered(tmp_path / "left.mp4", 20)
    frames = read_frames(path)
    next(frames)
    frames.close()
    path.unlink()  # Windows refuses while a file is open


def test_written_video_is_what_browsers_play(tmp_path):
    path = write_numbered(tmp_path / "out.mp4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 25
        keys = [i for i, p in enumerate(container.demux(stream)) if p.size and p.is_keyframe]
    assert max(np.diff([*keys, 60])) <= 30
    data = path.read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")
    info = probe_video(path)
    assert (info.image_size, info.fps, info.n_frames, info.duration) == (SIZE, 25.0, 60, 2.4)


def test_colours_survive_writing_and_reading(tmp_path):
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32, :32], image[32:, 32:], image[:32, 32:] = (200, 60, 30), (20, 90, 220), 128
    with VideoWriter(tmp_path / "colours.mp4", 30, crf=10) as writer:
        writer.write(image)
    back = read_frame(tmp_path / "colours.mp4", 0).astype(int)
    for y, x in ((16, 16), (48, 48), (16, 48), (48, 16)):
        assert np.abs(back[y, x] - image[y, x]).max() <= 4


COLOURS = ((200, 60, 30), (20, 90, 220), (128, 128, 128), (30, 160, 60))


def quarters():
    """A picture of four colours."""
    image = np.zeros((64, 96, 3), np.uint8)
    image[:32, :48], image[:32, 48:], image[32:, :48], image[32:, 48:] = COLOURS
    return image


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "matrix"),
    [
        ("plain.mp4", "libx264", "yuv420p", 2),
        ("fine.mp4", "libx264", "yuv444p", 2),
        ("hd.mp4", "libx264", "yuv420p", 1),
        ("full.avi", "mjpeg", "yuvj420p", 2),
        ("deep.mkv", "ffv1", "yuv420p10le", 2),
        ("rgb.mkv", "ffv1", "bgr0", 2),
        ("grey.mkv", "ffv1", "gray", 2),
    ],
)
def test_planes_show_the_colours_that_rgb_shows(tmp_path, name, codec, pix_fmt, matrix):
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pix_fmt
        stream.codec_context.colorspace = matrix
        frame = av.VideoFrame.from_ndarray(quarters(), "rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    rgb, planes = (read_frame(path, 0, pixels=pixels) for pixels in ("rgb", "planes"))
    brightness = to_planes(rgb).y.astype(int)
    for y, x in ((16, 24), (16, 72), (48, 24), (48, 72)):
        fine = planes.u.shape == planes.y.shape
        ycc = [int(part[y, x] if i == 0 or fine else part[y // 2, x // 2])
               for i, part in enumerate(planes)]  # fmt: skip
        assert np.abs(np.subtract(ycc, to_ycc(tuple(rgb[y, x].tolist())))).max() <= 3
        assert abs(ycc[0] - brightness[y, x]) <= 2


def test_planes_are_written_as_they_are(tmp_path):
    path, again = tmp_path / "colours.mp4", tmp_path / "again.mp4"
    with VideoWriter(path, 30, crf=1) as writer:
        writer.write(quarters())
    with VideoWriter(again, 30, crf=1, quick=True) as writer:
        canvas = Planes.blank(96, 64)
        for part, whole in zip(read_frame(path, 0, pixels="planes"), canvas, strict=True):
            whole[:] = part
        writer.write(canvas)
        canvas.y[:] = 16  # the writer has its own copy
        with pytest.raises(ValueError, match=r"shape \(64, 90, 3\); expected \(64, 96, 3\)"):
            writer.write(Planes.blank(90, 64))
    difference = read_frame(again, 0).astype(int) - read_frame(path, 0)
    assert np.abs(difference).max() <= 3


def test_pictures_of_odd_size_and_turned_videos_are_read_as_planes(tmp_path, video):
    write_image(tmp_path / "odd.png", np.full((33, 47, 3), COLOURS[0], np.uint8))
    y, u, v = read_image(tmp_path / "odd.png", pixels="planes")
    assert (y.shape, u.shape, v.shape) == ((33, 47), (17, 24), (17, 24))
    assert (y[32, 46], u[16, 23], v[16, 23]) == pytest.approx(to_ycc(COLOURS[0]), abs=1)
    assert next(read_frames(tmp_path, pixels="planes")).image.y.shape == (33, 47)
    turned = turn(video, tmp_path / "turned.mp4")
    upright = read_frame(video, 5, pixels="planes")
    for part, whole in zip(read_frame(turned, 5, pixels="planes"), upright, strict=True):
        np.testing.assert_array_equal(part, np.rot90(whole, -1))


def test_an_encoder_that_fails_in_its_thread_is_heard(tmp_path, monkeypatch):
    def fail(self, frame):
        raise DataError("disk full")

    monkeypatch.setattr(VideoWriter, "_encode", fail)
    with (
        pytest.raises(DataError, match="disk full"),
        VideoWriter(tmp_path / "out.mp4", 30) as writer,
    ):
        writer.write(numbered(1))
    assert list(tmp_path.iterdir()) == []


def test_odd_sizes_are_padded_and_a_change_of_size_is_refused(tmp_path):
    with VideoWriter(tmp_path / "odd.mp4", Fraction(30000, 1001)) as writer:
        writer.write(np.full((33, 47, 3), 90, np.uint8))
        with pytest.raises(ValueError, match=r"shape \(33, 48, 3\)"):
            writer.write(np.full((33, 48, 3), 90, np.uint8))
    info = probe_video(tmp_path / "odd.mp4")
    assert info.image_size == (48, 34)
    assert info.fps == pytest.approx(29.97, abs=0.001)


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def write():
        with VideoWriter(tmp_path / "out.mp4", 30) as writer:
            writer.write(numbered(1))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write()
    with (
        pytest.raises(DataError, match="no frame was written"),
        VideoWriter(tmp_path / "none.mp4", 30),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures"
    for number in range(12):
        write_image(folder / f"img{number}.png", numbered(number))
    (folder / "notes.txt").write_text("no picture")
    (folder / "._img3.png").write_bytes(b"what macOS leaves")
    return folder


def test_a_folder_of_pictures_serves_as_a_video_in_natural_order(folder):
    assert [path.name for path in image_files(folder)] == [f"img{i}.png" for i in range(12)]
    info = probe_video(folder)
    assert (info.image_size, info.n_frames, info.fps) == (SIZE, 12, FOLDER_FPS)
    assert count_frames(folder) == 12
    np.testing.assert_allclose(frame_times(folder), np.arange(12) / FOLDER_FPS)
    read = list(read_frames(folder, frames=[11, 2]))
    assert [(f.index, number_in(f.image)) for f in read] == [(2, 2), (11, 11)]
    np.testing.assert_array_equal(read[0].image, numbered(2))
    assert read_frame(folder, 4, pixels="luma").shape == (SIZE[1], SIZE[0])


def test_a_folder_with_a_broken_picture_gives_the_rest(folder):
    cut(folder / "img4.png", 0.5)
    with pytest.warns(DataWarning, match="1 of 12 pictures cannot be read"):
        read = [frame.index for frame in read_frames(folder)]
    assert read == [i for i in range(12) if i != 4]


def test_a_folder_of_mixed_sizes_or_without_pictures_is_refused(folder, tmp_path):
    write_image(folder / "img5.png", np.zeros((10, 10), np.uint8))
    with pytest.raises(DataError, match=r"img5\.png has 10 x 10 pixels and img0\.png has 160 x 96"):
        list(read_frames(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        read_frames(tmp_path / "empty")


def test_half_a_jpeg_is_refused_not_filled_with_grey(tmp_path, rng):
    path = write_image(tmp_path / "ünï.jpg", rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    assert read_image(path).shape == (64, 64, 3)
    cut(path, 0.5)
    with pytest.raises(DataError, match="only part of a picture"):
        read_image(path)
    with pytest.raises(FileNotFoundError, match=r"no picture .*gone\.jpg"):
        read_image(tmp_path / "gone.jpg")
