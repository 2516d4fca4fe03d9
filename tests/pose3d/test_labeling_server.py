"""The labelling server answers its own page alone, and nothing leads out of the project."""

import http.client
import json
import threading
import time

import numpy as np
import pytest
import uvicorn

from calibration.errors import DataError
from calibration.video import write_image
from pose3d.labeling.keys import ACTIONS, load_keys
from pose3d.labeling.server import Labeling, labeling_app
from pose3d.project import Project

CONFIG = """\
Task: reaching
scorer: Ada
bodyparts: [nose, tail]
pose3d:
  cameras: [cam_1]
  recordings: {trot: {cam_1: a.mp4}}
"""


@pytest.fixture
def server(tmp_path):
    home = tmp_path / "project"
    images = home / "labeled-data" / "trot_cam_1"
    images.mkdir(parents=True)
    (home / "config.yaml").write_text(CONFIG)
    write_image(images / "img00000.png", np.zeros((8, 10, 3), np.uint8))
    (tmp_path / "secret.png").write_bytes(b"secret")
    (images / "img00001.png").symlink_to(tmp_path / "secret.png")
    labeling = Labeling(Project.load(home))
    app, token = labeling_app(labeling)
    running = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield running.servers[0].sockets[0].getsockname()[1], token
    running.should_exit = True
    thread.join()
    labeling.close()


def ask(server, path, method="GET", body=None, **headers):
    """Send a request with the right token and host unless told; None leaves a header out."""
    port, token = server
    given = {"Host": f"127.0.0.1:{port}", "X-Token": token}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    content = (
        b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    )
    for name, value in given.items():
        if value is not None:
            connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(content)))
    connection.endheaders(content)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer, text


def test_its_own_page_is_answered(server):
    assert ask(server, "/api/project")[0].status == 200
    assert ask(server, f"/?token={server[1]}", X_Token=None)[0].status == 200
    assert ask(server, "/api/recording/trot")[0].status == 200
    answer, content = ask(server, "/api/image/trot/cam_1/0")
    assert (answer.status, content[1:4]) == (200, b"PNG")


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Token": None},
        {"X_Token": ""},
        {"X_Token": "guess"},
        {"X_Token": "ünlaut".encode()},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "127.0.0.1:80@evil.example"},
        {"Host": None},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
    ids=str,
)
def test_strangers_are_refused(server, headers):
    for path in ("/api/project", "/", "/api/image/trot/cam_1/0"):
        answer, _ = ask(server, path, **headers)
        assert answer.status in (400, 403)
    try:
        answer, _ = ask(server, "/api/change/trot", "POST", {"changes": []}, **headers)
    except ConnectionError:
        return  # it hung up before the body was sent: refused as well
    assert answer.status in (400, 403)


def test_the_token_stands_in_the_pages_link_alone(server):
    assert ask(server, f"/api/project?token={server[1]}", X_Token=None)[0].status == 403


def test_every_answer_carries_a_strict_policy(server):
    for path, headers in (("/api/project", {}), ("/parts/main.js", {}), ("/", {"X_Token": None})):
        answer, _ = ask(server, path, **headers)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "/parts/..%2f..%2fproject.py",
        "/parts/server.py",
        "/parts/../server.py",
        "/api/image/trot/..%2f..%2f..%2fsecret/0",
        "/api/image/..%2f..%2f/cam_1/0",
        "/api/image/trot/cam_1/1",
        "/api/image/trot/cam_1/99",
        "/api/image/trot/cam_1/-1",
        "/api/moment/trot/99",
        "/api/moment/trot/..%2f..%2fsecret",
        "/api/frame/trot/..%2f..%2fsecret/0",
        "/api/frame/trot/cam_1/0",
        "/api/frame/trot/cam_1/-1",
        "/api/video/..%2f..%2fsecret",
        "/api/queue/trot/..%2f..%2fsecret",
        "/api/flow/trot/0/sideways",
        "/config.yaml",
    ],
)
def test_no_path_leads_out(server, path):
    answer, content = ask(server, path)
    assert answer.status in (400, 404)
    assert b"secret" not in content.replace(b"'../../../secret'", b"")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b'{"changes": [' + b"1," * 3_000_000 + b"1]}",
        {"changes": [1]},
        {"changes": [{}]},
        {"changes": [], "kind": "delete"},
        b'{"changes": [{"camera": "cam_1", "image": "img00000.png", "individual": "animal", '
        b'"keypoint": "nose", "before": null, "after": {"state": "clicked", "xy": [NaN, 1]}}]}',
    ],
    ids=range(9),
)
def test_what_is_no_change_is_refused_in_words(server, body):
    answer, content = ask(server, "/api/change/trot", "POST", body)
    assert answer.status == 400
    assert json.loads(content)["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/add/trot", {"moment": -1}),
        ("/api/add/trot", {"moment": "../../secret"}),
        ("/api/add/trot", {"moment": True}),
        ("/api/add/trot", {"moment": 5}),  # there is no video
        ("/api/add/trot", {}),
        ("/api/calibrate/trot", {}),
        ("/api/calibrate/trot", {"length": 1e999, "bone": ["nose", "tail"]}),
        ("/api/calibrate/trot", {"length": 1, "bone": 7}),
        ("/api/calibrate/trot", {"length": 1, "bone": [["nose"], {}]}),
        ("/api/calibrate/trot", {"length": 1, "bone": ["nose", "tail"], "lenses": "/etc/passwd"}),
        ("/api/calibrate/trot", {"length": 1, "bone": ["nose", "tail"], "lenses": ["a"]}),
    ],
)
def test_what_cannot_be_added_or_calibrated_is_refused_in_words(server, path, body):
    answer, content = ask(server, path, "POST", body)
    assert answer.status in (400, 404), content
    assert json.loads(content)["error"]


def test_a_project_has_its_own_keys(tmp_path):
    assert load_keys(tmp_path)["undo"] == "Ctrl+z"
    (tmp_path / "label-keys.yaml").write_text("undo: u\n")
    assert load_keys(tmp_path) == {name: key for name, (key, _) in ACTIONS.items()} | {"undo": "u"}
    (tmp_path / "label-keys.yaml").write_text("undoo: u\n")
    with pytest.raises(DataError, match="'undoo'; they are next_moment"):
        load_keys(tmp_path)
    (tmp_path / "label-keys.yaml").write_text("undo: e\n")
    with pytest.raises(DataError, match="'e' would do both next_moment and undo"):
        load_keys(tmp_path)
