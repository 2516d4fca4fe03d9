"""Measure networks: error after minutes of one core, speed, and peers in the same run.

CPU seconds of one core everywhere. "Error" is the mean distance in pixels of the images, as
DeepLabCut prints it. Accuracy is that of DeepLabCut's open-field project (POSE3D_DATA), whose
published figures come from ImageNet weights and a graphics card: people 2.69, ResNet-50 after
50,000 steps 2.65 to 2.97, after 100,000 1.8 to 2.4, MobileNetV2-0.35 3.04 to 3.84 px. Every
accuracy is the mean over splits of the seeds given, with a bootstrap over frames; under 0.5 px on
23 frames means nothing. Trainings that are in the results file are not done again.

    python scripts/bench_networks.py accuracy --minutes 5 15 --seeds 0 1 2 3 4
    python scripts/bench_networks.py accuracy --fraction 0.95 --minutes 5
    python scripts/bench_networks.py labels --weights mobilenet_v2_0.35.h5 --minutes 3
    python scripts/bench_networks.py speed [--peer PYTHON]

PYTHON is an interpreter that has DeepLabCut 3; its network is measured untrained, which changes
nothing about its speed.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

for _threads in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(_threads, "1")

import cv2  # noqa: E402  the number of threads must be set before
import numpy as np  # noqa: E402

cv2.setNumThreads(1)
METHODS = ("argmax", "locref", "vote", "dark")

#: The label of the open-field project whose ears are exchanged, as `check-labels` finds.
EXCHANGED = "labeled-data/m4s1/img0102.png"


def open_field():
    """Return the open-field project's folder."""
    return Path(os.environ["POSE3D_DATA"]) / "dlc_openfield"


def train_for(project, minutes, **how):
    """Train for CPU minutes, not minutes of the clock; return steps and CPU seconds."""
    from pose3d import steps
    from pose3d.networks import training

    training.time = SimpleNamespace(monotonic=time.process_time)
    begun = time.process_time()
    done = steps.train_network(project, minutes=minutes, steps=1_000_000, **how)
    return done.figures["steps"], time.process_time() - begun


def measure(project, name):
    """Return the errors of a network on its test images by decoder, and their names."""
    from calibration.images import read_image
    from pose3d.networks.datasets import load_split, single_animal_labels
    from pose3d.networks.inference import Predictor
    from pose3d.networks.storage import load_networks
    from pose3d.project import Project

    project = Project.load(project)
    folder = project.network_folder(name)
    network = next(iter(load_networks(folder).values()))
    labels = single_animal_labels(project)
    train, test = load_split(folder / "split.json").indices(labels)
    images = [read_image(project.path / labels.images[i], pixels="luma") for i in test]
    errors = {}
    for method in METHODS:
        xy, likelihood, _ = Predictor(network.model, network.spec, method=method).predict(images)
        errors[method] = np.linalg.norm(xy - labels.xy[test, 0], axis=-1).round(3).tolist()
    return {
        "n_train": len(train),
        "images": [labels.images[i] for i in test],
        "errors": errors,
        "likelihood": likelihood.round(4).tolist(),
    }


def run(results, key, arguments, make):
    """Do a training that is not in the results file yet, and add it."""
    known = json.loads(results.read_text()) if results.is_file() else {}
    if key not in known:
        with tempfile.TemporaryDirectory() as folder:
            project = Path(folder) / "project"
            shutil.copytree(open_field(), project)
            for path in project.rglob("*"):
                path.chmod(0o755 if path.is_dir() else 0o644)
            if arguments.keep:
                project = arguments.keep / key.replace(" ", "-")
                shutil.rmtree(project, ignore_errors=True)
                shutil.copytree(Path(folder) / "project", project)
            known = known | {key: make(project)}
        results.write_text(json.dumps(known))
    return known[key]


def one_training(minutes, fraction, seed, limit=None, **how):
    """Return a function that splits, trains and measures in a project."""
    from pose3d import steps

    def make(project):
        steps.create_training_dataset(project, train_fraction=fraction, seed=seed, limit=limit)
        n_steps, seconds = train_for(project, minutes, seed=seed, **how)
        return {"steps": n_steps, "cpu_seconds": seconds} | measure(project, "network")

    return make


def summary(records, method="dark", exchanged=True):
    """Return the mean error over runs, and a bootstrap over their frames."""
    from pose3d.metrics import bootstrap_interval

    per_run, pooled = [], []
    for record in records:
        errors = np.array(record["errors"][method])
        kept = [exchanged or image != EXCHANGED for image in record["images"]]
        per_run.append(np.nanmean(errors[kept]))
        pooled.append(errors[kept])
    low, high = bootstrap_interval(np.concatenate(pooled))
    return np.mean(per_run), low, high, per_run


def accuracy(arguments):
    """Print errors after some minutes, by decoder."""
    for minutes in arguments.minutes:
        records = []
        for seed in arguments.seeds:
            key = f"{arguments.backbone} {arguments.fraction} {minutes:g}min seed{seed}"
            how = {"backbone": arguments.backbone}
            if arguments.weights:
                how["weights"], key = str(arguments.weights), f"{key} pretrained"
            make = one_training(minutes, arguments.fraction, seed, **how)
            records.append(run(arguments.results, key, arguments, make))
            mean, *_ = summary(records[-1:])
            print(f"{key}: {records[-1]['steps']} steps, {mean:.2f} px", flush=True)
        for exchanged in (True, False):
            told = "all" if exchanged else "without the exchanged label"
            for method in METHODS:
                mean, low, high, runs = summary(records, method, exchanged)
                seeds = " ".join(f"{value:.2f}" for value in runs)
                print(
                    f"{minutes:g} min {told:28s} {method:7s} {mean:.2f} px [{low:.2f}, {high:.2f}]"
                    f"  seeds {seeds}"
                )


def labels(arguments):
    """Print errors against the number of labels, from scratch and from weights."""
    kinds = {"unet": {}, "mobilenet_v2_0.35": {}}
    if arguments.weights:
        kinds["mobilenet_v2_0.35 pretrained"] = {"weights": str(arguments.weights)}
    for kind, how in kinds.items():
        for limit in (10, 20, 50, 93):
            records = []
            for seed in arguments.seeds:
                key = f"{kind} labels{limit} {arguments.minutes[0]:g}min seed{seed}"
                how = how | {"backbone": kind.split()[0]}
                make = one_training(arguments.minutes[0], 0.8, seed, limit=limit, **how)
                records.append(run(arguments.results, key, arguments, make))
            mean, low, high, _ = summary(records)
            print(
                f"{kind:30s} {limit:3d} labels {mean:6.2f} px [{low:.2f}, {high:.2f}]", flush=True
            )


def speed(arguments):
    """Print CPU milliseconds a frame, decoding included, and a training step an image."""
    from calibration.video import read_frames
    from pose3d.networks.architecture import build_model, initialize
    from pose3d.networks.engines import available_engines
    from pose3d.networks.inference import Predictor
    from pose3d.networks.spec import NetworkSpec

    video = next((open_field() / "videos").glob("*"))
    names = ("snout", "leftear", "rightear", "tailbase")
    peer = peer_milliseconds(arguments, video)
    for backbone, scale, stride, n_frames in (("unet", 0.5, 4, 400), ("resnet_50", 1.0, 8, 24)):
        spec = NetworkSpec(backbone=backbone, keypoints=names, scale=scale, stride=stride)
        model = build_model(spec)
        initialize(model, 0)
        for engine in available_engines():
            for batch_size in (1, 8) if backbone == "unet" else (1,):
                predictor = Predictor(model, spec, batch_size=batch_size, engine=engine)
                predictor.prepare((640, 480))
                seen = 0
                stream = predictor.stream(read_frames(video, pixels="luma"), (640, 480))
                for _ in range(2):
                    next(stream)
                begun = time.process_time()
                for part in stream:
                    seen += len(part.frames)
                    if seen >= n_frames:
                        break
                each = (time.process_time() - begun) / seen * 1e3
                stream.close()
                ratio = f"  {peer['fp32'] / each:.1f} times DeepLabCut's fp32" if peer else ""
                print(f"{backbone:10s} {engine:9s} batch {batch_size}: {each:7.2f} ms{ratio}")
    training_step(peer)


def training_step(peer):
    """Print CPU milliseconds a crop of a training step, and how much of it is not the network."""
    from pose3d.networks.augmentation import Augmentation
    from pose3d.networks.batches import Examples, make_batch
    from pose3d.networks.devices import quicker_precision
    from pose3d.networks.spec import NetworkSpec
    from pose3d.networks.training import TrainingSettings, _Trainer
    from pose3d.project import Project, load_labels

    found = load_labels(Project.load(open_field()))
    spec = NetworkSpec(backbone="unet", keypoints=found.keypoints, scale=0.5)
    settings = TrainingSettings(precision=quicker_precision("unet"))
    examples = Examples([open_field() / i for i in found.images[:40]], found.xy[:40, 0], spec)
    trainer = _Trainer(spec, settings, None)
    spent = np.zeros(2)
    for step in range(45):
        begun = time.process_time()
        batch = make_batch(
            examples, step, seed=0, batch_size=settings.batch_size, crop_size=settings.crop_size,
            augmentation=Augmentation(), mirrored=np.arange(4),
        )  # fmt: skip
        middle = time.process_time()
        trainer.step(batch, 1e-3, step)
        if step >= 5:
            spent += middle - begun, time.process_time() - middle
    each = spent.sum() / 40 / settings.batch_size * 1e3
    ratio = f", {peer['training'] / each:.0f} times DeepLabCut's" if peer else ""
    print(
        f"training, {settings.batch_size} crops of {settings.crop_size}: {each:.2f} ms an image, "
        f"{spent[0] / spent.sum():.1%} of it outside the network{ratio}"
    )


#: DeepLabCut's own network on the video's frames, and its training step at its own sizes.
PEER = """
import json, sys, time
import cv2, numpy as np, torch
torch.set_num_threads(1); cv2.setNumThreads(1)
from deeplabcut.pose_estimation_pytorch.config import make_pytorch_pose_config
from deeplabcut.pose_estimation_pytorch.models import PoseModel
import tempfile, pathlib
names = ["snout", "leftear", "rightear", "tailbase"]
config = {"project_path": tempfile.mkdtemp(), "multianimalproject": False, "bodyparts": names,
          "identity": None, "engine": "pytorch", "Task": "t", "date": "d", "uniquebodyparts": []}
pose = make_pytorch_pose_config(config, pathlib.Path(config["project_path"]) / "p.yaml",
                                net_type="resnet_50")
model = PoseModel.build(pose["model"]).eval()
film = cv2.VideoCapture(sys.argv[1])
def frame():
    image = film.read()[1][..., ::-1].copy()
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    return (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
        [0.229, 0.224, 0.225])[:, None, None]
def seconds(n, wrap):
    begun = None
    with torch.inference_mode():
        for i in range(n + 1):
            if i == 1:
                begun = time.process_time()
            with wrap():
                model.get_predictions(model(frame()))
    return (time.process_time() - begun) / n * 1e3
import contextlib
found = {"fp32": seconds(6, contextlib.nullcontext),
         "bf16": seconds(6, lambda: torch.autocast("cpu", dtype=torch.bfloat16))}
model.train()
best = torch.optim.AdamW(model.parameters(), lr=5e-4)
x, times = torch.rand(8, 3, 448, 448), []
for i in range(3):
    begun = time.process_time()
    out = model(x)["bodypart"]
    loss = sum((v ** 2).mean() for v in out.values())
    best.zero_grad(); loss.backward(); best.step()
    times.append(time.process_time() - begun)
found["training"] = min(times[1:]) / 8 * 1e3
print(json.dumps(found))
"""


def peer_milliseconds(arguments, video):
    """Measure DeepLabCut in its own interpreter; None without one."""
    if arguments.peer is None:
        return None
    done = subprocess.run(
        [arguments.peer, "-c", PEER, str(video)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"DeepLabCut could not be measured: {done.stderr.strip().splitlines()[-1]}")
        return None
    found = json.loads(done.stdout.strip().splitlines()[-1])
    print(
        f"DeepLabCut resnet_50: {found['fp32']:.0f} ms a frame, {found['bf16']:.0f} in bfloat16; "
        f"training {found['training']:.0f} ms an image"
    )
    return found


def main():
    """Run a part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("accuracy", "labels", "speed"))
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--fraction", type=float, default=0.8, help="share to train on")
    parser.add_argument("--backbone", default="unet")
    parser.add_argument("--weights", type=Path, help="Keras' weights without top")
    parser.add_argument("--results", type=Path, default=Path("runs/bench_networks.json"))
    parser.add_argument("--keep", type=Path, help="keep the trained projects there")
    parser.add_argument("--peer", help="an interpreter that has DeepLabCut")
    arguments = parser.parse_args()
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    {"accuracy": accuracy, "labels": labels, "speed": speed}[arguments.part](arguments)


if __name__ == "__main__":
    main()
