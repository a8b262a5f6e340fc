"""faiss's exact index on the rows and queries that the bench `exact` leaves behind, on the same threads.

    OUT=folder cargo bench -p parallax-search && python crates/search/benches/faiss_flat.py folder [k] [threads]

Prints queries a second, the best of seven searches for all queries together, and the best time of 100 single ones.
"""

import sys
import time
from pathlib import Path

import faiss
import numpy


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main():
    folder = Path(sys.argv[1])
    k = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    faiss.omp_set_num_threads(threads)
    rows, queries = numpy.load(folder / "x.npy"), numpy.load(folder / "q.npy")
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    index.search(queries, k)
    together = min(seconds(lambda: index.search(queries, k)) for _ in range(7))
    singles = queries[:100]
    alone = min(seconds(lambda: index.search(query[None], k)) for query in singles)
    print(
        f"faiss {faiss.__version__} IndexFlatIP, {len(rows)} rows of {rows.shape[1]}, top {k}, {threads} threads: "
        f"{len(queries) / together:.0f} queries/s; one at a time {1e3 * alone:.2f} ms each"
    )


if __name__ == "__main__":
    main()
