"""P@1, R-precision and MAP@R of labelled vectors: pytorch-metric-learning's AccuracyCalculator against ours.

    python scripts/compare_measures.py [--rows 60000] [--dim 128] [--turns 5] [--threads 2]

Both sides evaluate the same vectors by Euclidean distance, leave one out, by turns, on the same number of threads; the
medians of their times are compared, and the values must agree to 1e-6. Needs pytorch-metric-learning, faiss-cpu and torch
beside cargo. OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are taken out of the environment, since they would slow down the
matrix products of the other side. Prints one line a turn and a line of JSON at the end.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SLOWING = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def bench():
    """The path of the bench's executable, built as `cargo bench` builds it."""
    command = ["cargo", "bench", "-p", "parallax-eval", "--bench", "leave_one_out", "--no-run", "--message-format=json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    built = [message["executable"] for message in map(json.loads, lines) if message.get("executable")]
    return built[-1]


def main():
    if any(name in os.environ for name in SLOWING):
        clean = {name: value for name, value in os.environ.items() if name not in SLOWING}
        os.execve(sys.executable, [sys.executable, *sys.argv], clean)
    options = arguments()
    executable = bench()
    warnings.filterwarnings("ignore")
    import faiss
    import numpy
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    # Classes of about 60 rows: their centres and 1.5 times as much noise.
    random = numpy.random.default_rng(0)
    classes = max(options.rows // 60, 1)
    labels = random.integers(0, classes, options.rows)
    centres = random.normal(size=(classes, options.dim))
    vectors = (centres[labels] + 1.5 * random.normal(size=(options.rows, options.dim))).astype("<f4")
    names = ["precision_at_1", "r_precision", "mean_average_precision_at_r"]
    calculator = AccuracyCalculator(include=tuple(names), k="max_bin_count", device=torch.device("cpu"))

    def theirs():
        start, used = time.perf_counter(), time.process_time()
        values = calculator.get_accuracy(torch.tensor(vectors), torch.tensor(labels))
        return time.perf_counter() - start, time.process_time() - used, [values[name] for name in names]

    def ours(folder):
        environment = os.environ | {"FOLDER": str(folder)}
        command = [executable, "0", str(options.threads)]
        run = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        result = json.loads(run.stdout)
        return result["seconds"], result["processor_seconds"], result["values"], result["peak_mb"]

    with tempfile.TemporaryDirectory() as folder:
        vectors.tofile(Path(folder) / "x.f32")
        labels.astype("<u4").tofile(Path(folder) / "y.u32")
        turns = []
        for turn in range(options.turns):
            (a, a_used, a_values), (b, b_used, b_values, peak) = theirs(), ours(folder)
            difference = max(abs(x - y) for x, y in zip(a_values, b_values))
            if difference > 1e-6:
                sys.exit(f"values differ by {difference}: {a_values} and {b_values}")
            turns.append((a, a_used, b, b_used))
            print(f"turn {turn + 1}: AccuracyCalculator {a:.2f} s ({a_used:.2f} s of processors), "
                  f"ours {b:.3f} s ({b_used:.2f} s), values within {difference:.1e}", file=sys.stderr)
    a, a_used, b, b_used = (statistics.median(column) for column in zip(*turns))
    their_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({
        "work": "P@1, R-precision, MAP@R, leave one out, Euclidean",
        "rows": options.rows, "dim": options.dim, "threads": options.threads, "turns": options.turns,
        "AccuracyCalculator": {"seconds": a, "processor_seconds": a_used, "peak_mb": their_peak},
        "parallax": {"seconds": b, "processor_seconds": b_used, "peak_mb": peak},
        "times_as_fast": a / b, "times_as_fast_by_processor_time": a_used / b_used, "values": b_values,
    }))


if __name__ == "__main__":
    main()
