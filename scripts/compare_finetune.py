"""Fine-tune beside PyTorch: the same model, rows, loss, miner and settings, both sides in one run, by turns.

    python scripts/compare_finetune.py [--seeds 3] [--epochs 2] [--precision f32] [--steps N] [--data FOLDER]

Needs torch, sentence-transformers, pytorch-metric-learning and numpy in this Python, and cargo on the path. The model is
all-MiniLM-L6-v2 (looked for in PARALLAX_MODELS), the rows are both files of Banking77 in PARALLAX_DATA: trained on the
first 38 intents by name, measured on the other 39. Ours is `parallax train examples/banking77.toml`; the peer's is the
same recipe: multi-similarity loss and miner, batches of 128 with 4 rows a class, AdamW at 2e-5. For each seed both sides
run one after the other. Texts a second are those of training steps alone, tokenising included, measuring left out.

The peer runs in a process of its own in which OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are not set: where they are, they
are made for another program and would slow it down. Prints one JSON line a run, and a table at the end. --steps ends
every epoch of both sides early, to see that the script works; what it then prints is no result.
"""

import argparse
import csv
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
BATCH, PER_CLASS, SEEN = 128, 4, 38


def read_rows(data):
    rows = []
    for part in ("train", "test"):
        with open(pathlib.Path(data) / f"banking77/{part}.csv", encoding="utf-8", newline="") as file:
            rows += [(row["text"], row["category"]) for row in csv.DictReader(file)]
    return rows


def peer(folder, data, seed, epochs, threads, steps):
    import numpy
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    random.seed(seed)
    numpy.random.seed(seed)
    from pytorch_metric_learning import losses, miners, samplers
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    rows = read_rows(data)
    seen = set(sorted({label for _, label in rows})[:SEEN])
    train = [row for row in rows if row[1] in seen]
    test = [row for row in rows if row[1] not in seen]

    def quality():
        vectors = model.encode([text for text, _ in test], batch_size=64)
        return map_at_r(vectors, numpy.unique([label for _, label in test], return_inverse=True)[1])

    before = quality()
    numbers = numpy.unique([label for _, label in train], return_inverse=True)[1]
    sampler = samplers.MPerClassSampler(numbers, PER_CLASS, BATCH, length_before_new_iter=len(numbers))
    loss, miner = losses.MultiSimilarityLoss(), miners.MultiSimilarityMiner()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, eps=1e-8, weight_decay=0.01)
    tokenize = model.preprocess if hasattr(model, "preprocess") else model.tokenize
    texts, seconds = 0, 0.0
    for _ in range(epochs):
        model.train()
        order = list(sampler)
        last = min(len(order) - BATCH + 1, steps * BATCH) if steps else len(order) - BATCH + 1
        begun = time.perf_counter()
        for at in range(0, last, BATCH):
            batch = order[at : at + BATCH]
            vectors = model(tokenize([train[row][0] for row in batch]))["sentence_embedding"]
            classes = torch.tensor(numbers[batch])
            value = loss(vectors, classes, miner(vectors, classes))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            texts += BATCH
        seconds += time.perf_counter() - begun
        model.eval()
    found = {"texts_per_second": texts / seconds, "texts": texts, "before": before, "map_at_r": quality()}
    print(json.dumps(found), flush=True)


def map_at_r(vectors, labels):
    """MAP@R, each row against all others of the same set."""
    import numpy

    scores = vectors @ vectors.T
    numpy.fill_diagonal(scores, -numpy.inf)
    values = []
    for row, ranking in enumerate(numpy.argsort(-scores, axis=1, kind="stable")):
        relevant = int((labels == labels[row]).sum()) - 1
        if relevant:
            hits = labels[ranking[:relevant]] == labels[row]
            precision = numpy.cumsum(hits) / numpy.arange(1, relevant + 1)
            values.append(float((precision * hits).sum() / relevant))
    return sum(values) / len(values)


def theirs(folder, asked, seed):
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(asked.threads)}
    arguments = [folder, asked.data, seed, asked.epochs, asked.threads, asked.steps or 0]
    command = [sys.executable, __file__, "--peer", *map(str, arguments)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return json.loads([line for line in said.splitlines() if line.startswith("{")][-1])


def ours(folder, asked, seed, precision, work):
    out = work / f"{precision}-{seed}"
    command = [str(REPOSITORY / "target/release/parallax"), "train", str(REPOSITORY / "examples/banking77.toml")]
    command += ["--threads", str(asked.threads), "--precision", precision, "--seed", str(seed), "--quiet"]
    command += ["--out", str(out), "--set", f"train.epochs={asked.epochs}", "--set", f"model.path={json.dumps(folder)}"]
    if asked.steps:
        command += ["--set", f"train.max_steps={asked.steps * asked.epochs}"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PARALLAX_DATA": asked.data})
    if done.returncode:
        sys.exit(f"parallax train failed: {done.stderr}")
    with open(out / "metrics.json", encoding="utf-8") as file:
        metrics = json.load(file)
    measures = metrics["measures"]["map@r"]
    steps = [json.loads(line) for line in open(out / "metrics.jsonl", encoding="utf-8")]
    seconds = [step["seconds"] for step in steps if "loss" in step and "seconds" in step]
    return {
        "texts_per_second": BATCH * len(seconds) / sum(seconds),
        "texts": BATCH * len(seconds),
        "before": measures["before"],
        "map_at_r": measures["after"],
        "peak_memory": metrics["training"].get("peak_memory"),
    }


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument("--model", default="all-MiniLM-L6-v2")
    ask.add_argument("--data", default=os.environ.get("PARALLAX_DATA"))
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--epochs", type=int, default=2)
    ask.add_argument("--threads", type=int, default=2)
    ask.add_argument("--steps", type=int, help="end every epoch after so many steps")
    ask.add_argument("--precision", action="append", help="of ours; may be repeated; f32 where it is not given")
    asked = ask.parse_args()
    if not asked.data:
        ask.error("set PARALLAX_DATA, or give --data")
    folder = pathlib.Path(asked.model)
    if not (folder / "modules.json").is_file():
        folder = pathlib.Path(os.environ.get("PARALLAX_MODELS", ".")) / asked.model
    if not (folder / "modules.json").is_file():
        sys.exit(f"there is no model {asked.model}: give its folder, or set PARALLAX_MODELS")
    folder = str(folder.resolve())
    build = ["cargo", "build", "--quiet", "--release", "--workspace"]
    subprocess.run(build, check=True, cwd=REPOSITORY)
    unset = [name for name in UNSET if name in os.environ]
    if unset:
        print(f"not set for the peer: {', '.join(unset)}", file=sys.stderr)
    runs = {}
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        for seed in range(asked.seeds):
            sides = {("peer", "f32"): theirs(folder, asked, seed)}
            for precision in asked.precision or ["f32"]:
                sides["parallax", precision] = ours(folder, asked, seed, precision, work)
            for (side, precision), found in sides.items():
                runs.setdefault((side, precision), []).append(found)
                line = {"side": side, "precision": precision, "seed": seed, "epochs": asked.epochs, **found}
                print(json.dumps(line | {"threads": asked.threads}), flush=True)
    print()
    rate = {case: statistics.median(found["texts_per_second"] for found in all_) for case, all_ in runs.items()}
    mean = {case: statistics.mean(found["map_at_r"] for found in all_) for case, all_ in runs.items()}
    for case, found in runs.items():
        values = ", ".join(f"{run['map_at_r']:.4f}" for run in found)
        print(
            f"{case[0]:10}{case[1]:6} {rate[case]:8.1f} texts/s ({rate[case] / rate['peer', 'f32']:.2f}x)   "
            f"MAP@R {mean[case]:.4f} ({mean[case] - mean['peer', 'f32']:+.4f}): {values}"
        )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--peer", folder, data, seed, epochs, threads, steps]:
            peer(folder, data, int(seed), int(epochs), int(threads), int(steps))
        case _:
            main()
