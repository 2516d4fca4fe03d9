"""The house stands: floors, light imports, names that people rely on."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import calibration
import pose3d
from pose3d import steps
from pose3d.cli import parameter_help

ROOT = Path(__file__).resolve().parent.parent

#: The floor of every module; a package's floor holds for what lies in it.
FLOORS = {
    "calibration.arrays": 1,
    "calibration.errors": 1,
    "calibration.lazy": 1,
    "calibration.compiling": 1,
    "calibration.lenses": 1,
    "calibration.cameras": 1,
    "calibration.boards": 1,
    "calibration.recordings": 1,
    "calibration.results": 1,
    "calibration.rotations": 1,
    "calibration.planes": 2,
    "calibration.multiview": 2,
    "calibration.poses": 2,
    "calibration.normals": 2,
    "calibration.timing": 2,
    "calibration.lateness": 2,
    "calibration.mending": 2,
    "calibration.joint": 2,
    "calibration.explaining": 2,
    "calibration.holdout": 2,
    "calibration.bounds": 2,
    "calibration.kernels": 2,
    "calibration.levenberg": 2,
    "calibration.board_images": 2,
    "calibration.corners": 2,
    "calibration.detection": 2,
    "calibration.recognition": 2,
    "calibration.intrinsics": 2,
    "calibration.extrinsics": 2,
    "calibration.bundle": 2,
    "calibration.verdict": 2,
    "calibration.evidence": 2,
    "calibration.plausibility": 2,
    "calibration.corner_checks": 2,
    "calibration.solve": 2,
    "calibration.pointbundle": 2,
    "calibration.losses": 2,
    "calibration.resection": 2,
    "calibration.keypointviews": 2,
    "calibration.keypointdoubts": 2,
    "calibration.scene": 2,
    "calibration.selfcalibration": 2,
    "calibration.world": 2,
    "calibration.floors": 2,
    "calibration.synthetic": 2,
    "calibration.files": 3,
    "calibration.containers": 3,
    "calibration.decoding": 3,
    "calibration.images": 3,
    "calibration.video": 3,
    "calibration.video_writing": 3,
    "calibration.searching": 3,
    "calibration.sources": 3,
    "calibration.formats": 3,
    "calibration.anipose": 3,
    "calibration.figures": 3,
    "calibration.report": 3,
    "calibration.steps": 4,
    "pose3d.skeleton": 1,
    "pose3d.keypoints": 1,
    "pose3d.labels": 1,
    "pose3d.scoremaps": 2,
    "pose3d.metrics": 2,
    "pose3d.triangulation": 2,
    "pose3d.trajectory": 2,
    "pose3d.smoothing": 2,
    "pose3d.timeshift": 2,
    "pose3d.consistency": 2,
    "pose3d.swaps": 2,
    "pose3d.mixups": 2,
    "pose3d.candidates": 2,
    "pose3d.outliers": 2,
    "pose3d.confirmation": 2,
    "pose3d.suspects": 2,
    "pose3d.sampling": 2,
    "pose3d.confidence": 2,
    "pose3d.synthetic": 2,
    "pose3d.synthetic.recording": 3,
    "pose3d.networks": 2,
    "pose3d.networks.batches": 3,
    "pose3d.networks.checkpoints": 3,
    "pose3d.networks.datasets": 3,
    "pose3d.networks.export": 3,
    "pose3d.networks.live": 3,
    "pose3d.networks.runners": 3,
    "pose3d.networks.runs": 3,
    "pose3d.networks.storage": 3,
    "pose3d.networks.training": 3,
    "pose3d.networks.weights": 3,
    "pose3d.project": 3,
    "pose3d.engines": 3,
    "pose3d.formats": 3,
    "pose3d.figures": 3,
    "pose3d.overlays": 3,
    "pose3d.mosaic": 3,
    "pose3d.labeled_video": 3,
    "pose3d.pages": 3,
    "pose3d.viewer": 3,
    "pose3d.labeling": 4,
    "pose3d.labeling.journal": 3,
    "pose3d.labeling.folders": 3,
    "pose3d.labeling.changes": 3,
    "pose3d.labeling.moments": 3,
    "pose3d.labeling.session": 3,
    "pose3d.labeling.keys": 3,
    "pose3d.steps": 4,
    "pose3d.cli": 4,
    "pose3d.__main__": 4,
}

#: Packages that take long to import, and the only modules that may name them.
HEAVY = {
    "tensorflow": ("pose3d.networks",),
    "keras": ("pose3d.networks",),
    "aniposelib": ("calibration.anipose",),
    "plotly": (
        "calibration.figures",
        "calibration.report",
        "pose3d.figures",
        "pose3d.pages",
        "pose3d.viewer",
    ),
}


def sources():
    for package in ("calibration", "pose3d"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree):
    """Every module a file imports, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(name):
    while name:
        if name in FLOORS:
            return FLOORS[name]
        name = name.rpartition(".")[0]
    return None


def within(name, rooms):
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


SOURCES = dict(sources())


@pytest.mark.parametrize("name", [name for name in SOURCES if "." in name])
def test_a_module_imports_from_its_own_floor_or_below(name):
    assert floor(name) is not None, f"{name} has no floor: enter it in FLOORS"
    for imported in imports(SOURCES[name]):
        above = floor(imported)
        if above is not None:
            assert above <= floor(name), f"{name} imports {imported} from floor {above}"


def test_the_rig_knows_nothing_of_the_animal():
    for name, tree in SOURCES.items():
        if name.startswith("calibration"):
            assert not [m for m in imports(tree) if m.partition(".")[0] == "pose3d"], name


@pytest.mark.parametrize("package", HEAVY)
def test_heavy_packages_are_named_in_their_own_rooms_alone(package):
    for name, tree in SOURCES.items():
        if not within(name, HEAVY[package]):
            assert not [m for m in imports(tree) if m.partition(".")[0] == package], name


@pytest.mark.parametrize("word", ["pickle", "marshal", "shelve", "dill", "joblib"])
def test_nothing_that_runs_code_from_data_is_imported(word):
    for name, tree in SOURCES.items():
        assert word not in {m.partition(".")[0] for m in imports(tree)}, name


@pytest.mark.parametrize(
    "statement", ["import pose3d, calibration", "from pose3d import cli; cli.app(['--help'])"]
)
def test_starting_up_loads_nothing_heavy(statement):
    code = (
        f"import sys\ntry:\n    {statement.replace('; ', chr(10) + '    ')}\n"
        "except SystemExit:\n    pass\n"
        "heavy = ('tensorflow', 'keras', 'jax', 'numba', 'aniposelib', 'plotly', 'pandas',"
        " 'scipy', 'cv2', 'av', 'h5py')\n"
        "print('loaded:', [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("package", [calibration, pose3d, steps], ids=lambda p: p.__name__)
def test_every_name_that_is_handed_on_exists(package):
    for name in package.HOMES:
        assert getattr(package, name) is not None


@pytest.mark.parametrize("verb", steps.HOMES)
def test_every_verb_is_documented_parameter_by_parameter(verb):
    step = getattr(steps, verb)
    documented = parameter_help(step)
    for name in inspect.signature(step).parameters:
        assert documented.get(name), f"{verb} does not say what {name} means"
    assert step.__doc__.splitlines()[0].endswith(".")
