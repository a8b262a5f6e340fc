"""Time embedding beside sentence-transformers: the same model, texts and threads, both sides in one run, by turns.

    python scripts/compare_encode.py [--rounds 5] [--precision f32 --precision bf16 --precision int8] [--texts N]
        [--model all-MiniLM-L6-v2] [--data FOLDER]

Needs torch, sentence-transformers and numpy in this Python, and cargo on the path. The model is looked for as parallax
does it (PARALLAX_MODELS), the texts are the test file of Banking77 in PARALLAX_DATA. Measured are a batch job of all
texts, one text at a time (p50), and the time from the start of a process to the first vector. Each round takes all of
them once, the peer and each precision after one another; the medians over the rounds count. Then the vectors of both
sides are compared (cosine, row by row) and measured (MAP@R, each row against all others of 77 classes).

The peer runs in processes of its own in which OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are not set: where they are, they
are made for another program and would slow it down. Prints one JSON line a case, and a table at the end.
"""

import argparse
import csv
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
ONE_BY_ONE = 200


def peer_environment(threads):
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true"}
    return environment


def model_folder(name):
    places = [pathlib.Path(name)]
    if models := os.environ.get("PARALLAX_MODELS"):
        places.append(pathlib.Path(models) / name)
    for place in places:
        if (place / "modules.json").is_file():
            return str(place.resolve())
    sys.exit(f"there is no model {name}: give its folder, or set PARALLAX_MODELS")


def read_texts(file, limit):
    with open(file, encoding="utf-8", newline="") as rows:
        rows = list(csv.DictReader(rows))
    return [row["text"] for row in rows][:limit], [row["category"] for row in rows][:limit]


# The peer's process: loads the model once, then answers one request a line.


def peer(folder, file, limit, threads):
    import torch

    torch.set_num_threads(threads)
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    texts, _ = read_texts(file, limit)

    def encode(batch, dtype):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bf16"):
            return model.encode(batch, batch_size=32)

    encode(texts[:256], "f32")
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        dtype = request["dtype"]
        answer = {}
        if request["what"] == "batch":
            begun = time.perf_counter()
            vectors = encode(texts, dtype)
            answer["texts_per_second"] = len(texts) / (time.perf_counter() - begun)
            if request.get("save"):
                import numpy

                numpy.save(request["save"], vectors.astype("float32"))
        else:
            milliseconds = []
            for text in texts[:ONE_BY_ONE]:
                begun = time.perf_counter()
                encode(text, dtype)
                milliseconds.append(1e3 * (time.perf_counter() - begun))
            answer["p50_ms"] = statistics.median(milliseconds)
        print(json.dumps(answer), flush=True)


def first_vector(folder):
    """All that a process does that embeds one text, the imports included."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(folder, device="cpu").encode("How do I activate my new card?")


class Peer:
    def __init__(self, folder, file, limit, threads):
        self.folder, self.threads = folder, threads
        command = [sys.executable, __file__, "--peer", folder, str(file), str(limit or ""), str(threads)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=peer_environment(threads)
        )
        self.answer()

    def answer(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        sys.exit("the peer's process ended early")

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def start(self):
        begun = time.perf_counter()
        command = [sys.executable, __file__, "--first", self.folder]
        subprocess.run(command, check=True, capture_output=True, env=peer_environment(self.threads))
        return time.perf_counter() - begun

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Ours:
    def __init__(self, folder, texts_file, threads, precision):
        self.program = REPOSITORY / "target/release/parallax"
        self.folder, self.file, self.precision = folder, texts_file, precision
        self.settings = ["--threads", str(threads), "--precision", precision, "--quiet"]

    def run(self, *arguments):
        command = [str(self.program), *self.settings, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[0] if done.stderr else "it said nothing")
        return done.stdout

    def measure(self, part):
        said = self.run("bench", "encode", self.folder, self.file, "--only", part, "--runs", 1, "--json")
        return json.loads(said)

    def start(self, one_text, output):
        begun = time.perf_counter()
        self.run("embed", self.folder, one_text, "-o", output)
        return time.perf_counter() - begun

    def quantize(self, texts, output):
        settings, self.settings = self.settings, [*self.settings[:2], "--quiet"]
        self.run("convert", "quantize", self.folder, "--texts", texts, "--column", "text", "-o", output)
        self.settings, self.folder = settings, str(output)

    def save(self, output):
        self.run("embed", self.folder, self.file, "-o", output)


def mean_average_precision_at_r(vectors, labels):
    """MAP@R, each row against all others; rows without another of their class do not count."""
    import numpy

    vectors = vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)
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


def spread(values):
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values), "runs": len(values)}


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument("--model", default="all-MiniLM-L6-v2")
    ask.add_argument("--data", default=os.environ.get("PARALLAX_DATA"))
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--texts", type=int, help="only the first so many")
    ask.add_argument("--threads", type=int, default=2)
    ask.add_argument("--precision", action="append", help="may be repeated; f32, bf16 and int8 where it is not given")
    asked = ask.parse_args()
    if not asked.data:
        ask.error("set PARALLAX_DATA, or give --data")
    import numpy

    file = pathlib.Path(asked.data) / "banking77/test.csv"
    folder = model_folder(asked.model)
    texts, labels = read_texts(file, asked.texts)
    labels = numpy.unique(labels, return_inverse=True)[1]
    build = ["cargo", "build", "--quiet", "--release", "--workspace"]
    subprocess.run(build, check=True, cwd=REPOSITORY)
    unset = [name for name in UNSET if name in os.environ]
    if unset:
        print(f"not set for the peer: {', '.join(unset)}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        own_file, one_text = work / "texts.jsonl", work / "one.txt"
        own_file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        one_text.write_text("How do I activate my new card?\n", encoding="utf-8")
        theirs = Peer(folder, file, asked.texts, asked.threads)
        sides, measured = {}, {}
        for precision in asked.precision or ["f32", "bf16", "int8"]:
            ours = Ours(folder, own_file, asked.threads, precision)
            try:
                if precision == "int8":
                    # What 8 bits need to know is found out on the texts of the training file.
                    train = pathlib.Path(asked.data) / "banking77/train.csv"
                    ours.quantize(train, work / "int8")
                ours.start(one_text, work / "one.npy")
                sides[precision] = ours
            except RuntimeError as error:
                print(f"left out: {precision}: {error}", file=sys.stderr)

        def note(what, side, precision, value):
            measured.setdefault((what, side, precision), []).append(value)

        for number in range(asked.rounds):
            for dtype in ("f32", "bf16"):
                note("batch", "peer", dtype, theirs.ask(what="batch", dtype=dtype)["texts_per_second"])
            for precision, ours in sides.items():
                rate = ours.measure("batch")["batch"]["texts_per_second"]["median"]
                note("batch", "parallax", precision, rate)
            note("one", "peer", "f32", theirs.ask(what="one", dtype="f32")["p50_ms"])
            for precision, ours in sides.items():
                note("one", "parallax", precision, ours.measure("one")["one"]["p50_ms"])
            note("start", "peer", "f32", theirs.start())
            for precision, ours in sides.items():
                note("start", "parallax", precision, ours.start(one_text, work / "one.npy"))
            print(f"round {number + 1} of {asked.rounds}", file=sys.stderr)

        vectors = {}
        for dtype in ("f32", "bf16"):
            saved = str(work / f"peer-{dtype}.npy")
            theirs.ask(what="batch", dtype=dtype, save=saved)
            vectors["peer", dtype] = numpy.load(saved).astype("float64")
        theirs.close()
        for precision, ours in sides.items():
            ours.save(work / "ours.npy")
            vectors["parallax", precision] = numpy.load(work / "ours.npy").astype("float64")

    lines = []
    units = {"batch": "texts/s", "one": "ms a text, p50", "start": "s from start to first vector"}
    for (what, side, precision), values in measured.items():
        line = {"what": what, "side": side, "precision": precision, "unit": units[what], **spread(values)}
        if side == "parallax":
            for dtype in ("f32", "bf16"):
                if against := measured.get((what, "peer", dtype)):
                    ours, other = statistics.median(values), statistics.median(against)
                    line[f"times_faster_than_peer_{dtype}"] = ours / other if what == "batch" else other / ours
        lines.append(line)
    reference = vectors["peer", "f32"]
    reference_quality = mean_average_precision_at_r(reference, labels)
    for (side, precision), own in vectors.items():
        lengths = numpy.linalg.norm(own, axis=1) * numpy.linalg.norm(reference, axis=1)
        cosines = (own * reference).sum(axis=1) / lengths
        quality = mean_average_precision_at_r(own, labels)
        lines.append({
            "what": "vectors", "side": side, "precision": precision, "rows": len(own),
            "lowest_cosine": float(cosines.min()), "mean_cosine": float(cosines.mean()),
            "map_at_r": quality, "map_at_r_difference": quality - reference_quality,
        })
    for line in lines:
        print(json.dumps(line | {"threads": asked.threads, "texts": len(texts), "model": asked.model}), flush=True)
    print()
    for line in lines:
        name = f"{line['what']:8}{line['side']:10}{line['precision']:6}"
        if line["what"] == "vectors":
            print(f"{name} cosine >= {line['lowest_cosine']:.6f}, MAP@R {line['map_at_r']:.4f} "
                  f"({line['map_at_r_difference']:+.4f})")
        else:
            factors = [f"{line[key]:.2f}x the peer's {dtype}" for dtype in ("f32", "bf16")
                       if (key := f"times_faster_than_peer_{dtype}") in line]
            print(f"{name} {line['median']:10.4g} {line['unit']} ({line['lowest']:.4g} to {line['highest']:.4g})  "
                  + ", ".join(factors))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--peer", folder, file, limit, threads]:
            peer(folder, file, int(limit) if limit else None, int(threads))
        case ["--first", folder]:
            first_vector(folder)
        case _:
            main()
