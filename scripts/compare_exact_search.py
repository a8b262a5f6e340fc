"""Exact top-k search: faiss's IndexFlatIP against ours.

    python scripts/compare_exact_search.py [--rows 100000] [--dim 384] [--queries 1000] [-k 10] [--turns 7] [--threads 2]

Both sides hold the same rows and answer the same queries by inner product, all together and 100 one at a time, by turns,
on the same number of threads; the medians of their times are compared. The rows found must be the same. Where 32-bit sums
of the other side swap two rows, their scores in 64 bits must agree to 1e-6; such queries are counted. Needs faiss-cpu
beside cargo. OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are taken out of the environment, since they would slow down the
matrix products of the other side. Prints one line a turn and a line of JSON at the end.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SLOWING = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"]
SINGLE = 100


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def bench():
    """The path of the bench's executable, built as `cargo bench` builds it."""
    command = ["cargo", "bench", "-p", "parallax-search", "--bench", "exact", "--no-run", "--message-format=json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    built = [message["executable"] for message in map(json.loads, lines) if message.get("executable")]
    return built[-1]


def main():
    if any(name in os.environ for name in SLOWING):
        clean = {name: value for name, value in os.environ.items() if name not in SLOWING}
        os.execve(sys.executable, [sys.executable, *sys.argv], clean)
    options = arguments()
    executable = bench()
    import faiss
    import numpy

    faiss.omp_set_num_threads(options.threads)
    random = numpy.random.default_rng(0)
    centres = random.normal(size=(1000, options.dim)).astype("<f4")

    def draw(count):
        noise = 0.7 * random.normal(size=(count, options.dim))
        vectors = (centres[random.integers(0, 1000, count)] + noise).astype("<f4")
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)

    rows, queries = draw(options.rows), draw(options.queries)
    flat = faiss.IndexFlatIP(options.dim)
    flat.add(rows)

    def theirs(single):
        start, used = time.perf_counter(), time.process_time()
        if single:
            for query in queries[:SINGLE]:
                flat.search(query[None], options.k)
        else:
            flat.search(queries, options.k)
        return time.perf_counter() - start, time.process_time() - used

    with tempfile.TemporaryDirectory() as folder:
        rows.tofile(Path(folder) / "x.f32")
        queries.tofile(Path(folder) / "q.f32")
        command = [executable, "0", str(options.dim), "0", str(options.k), str(options.threads)]
        process = subprocess.Popen(
            command, env=os.environ | {"FOLDER": folder}, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

        def ask(line):
            process.stdin.write(line + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        def ours(single):
            answer = ask("single" if single else "all")
            return answer["seconds"], answer["processor_seconds"]

        found, swapped = numpy.array(ask("rows")), 0
        _, reference = flat.search(queries, options.k)
        for query, ours_, theirs_ in zip(queries, found, reference):
            if (ours_ != theirs_).any():
                swapped += 1
                exact = lambda ids: (rows[ids].astype("f8") @ query.astype("f8"))
                gap = float(abs(exact(ours_) - exact(theirs_)).max())
                if gap > 1e-6:
                    sys.exit(f"other rows: {ours_} and {theirs_}, scores {gap} apart")
        turns = []
        for turn in range(options.turns):
            row = [*theirs(False), *ours(False), *theirs(True), *ours(True)]
            turns.append(row)
            print(
                f"turn {turn + 1}: all queries: faiss {row[0]:.3f} s ({row[1]:.2f} s of processors), ours {row[2]:.4f} s "
                f"({row[3]:.2f} s); {SINGLE} single ones: faiss {row[4]:.3f} s ({row[5]:.2f} s), ours {row[6]:.3f} s "
                f"({row[7]:.2f} s)",
                file=sys.stderr,
            )
        process.stdin.close()
        process.wait()
    middle = [statistics.median(column) for column in zip(*turns)]

    def side(at):
        return {
            "queries_per_second": options.queries / middle[at],
            "processor_seconds": middle[at + 1],
            "single_ms": 1e3 * middle[at + 4] / SINGLE,
        }

    print(json.dumps({
        "work": f"exact top {options.k} by inner product",
        "rows": options.rows, "dim": options.dim, "queries": options.queries, "threads": options.threads,
        "turns": options.turns, "faiss": side(0) | {"version": faiss.__version__}, "parallax": side(2),
        "times_as_fast": middle[0] / middle[2], "times_as_fast_single": middle[4] / middle[6],
        "queries_with_rows_swapped_by_32_bit_sums": swapped,
    }))


if __name__ == "__main__":
    main()
