"""Time the losses beside pytorch-metric-learning on the same shapes, both sides in one run, by turns.

    python scripts/compare_losses.py [BATCH ...]

Needs torch and pytorch-metric-learning, and cargo on the path. Both sides use THREADS threads (default 2), f32, 128
dimensions and 4 items a class; each case of each side is timed in three rounds and the best run of all counts. Prints
one JSON line a case with both times in milliseconds and their ratio, on the clock and of the processor over all
threads; on a machine that others use too, the latter with THREADS=1 says more.
"""

import json
import os
import subprocess
import sys
import time

ROUNDS = 3


def ours(batch, threads):
    command = ["cargo", "bench", "--quiet", "-p", "parallax-metric", "--", "peer", f"batch={batch}", f"threads={threads}"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return {line["loss"]: (line["ms"], line["processor_ms"]) for line in found}


def theirs(batch, threads, names):
    import torch
    from pytorch_metric_learning import losses, miners

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    cases = {
        "multi_similarity+miner": (losses.MultiSimilarityLoss(), miners.MultiSimilarityMiner()),
        "multi_similarity": (losses.MultiSimilarityLoss(), None),
        "supcon": (losses.SupConLoss(), None),
        "contrastive": (losses.ContrastiveLoss(), None),
        "circle": (losses.CircleLoss(), None),
        "triplet_all": (losses.TripletMarginLoss(), None),
        "ntxent": (losses.NTXentLoss(), None),
    }
    x = torch.randn(batch, 128, requires_grad=True)
    y = torch.arange(batch) % (batch // 4)
    found = {}
    for name in names:
        loss, miner = cases[name]

        def step():
            x.grad = None
            loss(x, y, miner(x, y) if miner else None).backward()

        step()
        runs = []
        for _ in range(5):
            start, before = time.perf_counter(), time.process_time()
            step()
            runs.append((time.perf_counter() - start, time.process_time() - before))
        found[name] = tuple(1e3 * min(times) for times in zip(*runs))
    return found


def least(best, found):
    for name, times in found.items():
        best[name] = tuple(map(min, times, best.get(name, times)))


def main(batches):
    threads = int(os.environ.get("THREADS", 2))
    for batch in batches:
        mine, peer = {}, {}
        for _ in range(ROUNDS):
            least(mine, ours(batch, threads))
            # NT-Xent there holds a tensor of positive pairs × negative pairs: 24 GiB and more at 1,024.
            names = [name for name in mine if batch < 1024 or name not in ("ntxent", "triplet_all")]
            least(peer, theirs(batch, threads, names))
        for name, (ms, processor) in mine.items():
            line = {"loss": name, "batch": batch, "threads": threads, "ms": round(ms, 3), "processor_ms": round(processor, 3)}
            if name in peer:
                other, other_processor = peer[name]
                line |= {"peer_ms": round(other, 3), "peer_processor_ms": round(other_processor, 3)}
                line |= {"ratio": round(other / ms, 1), "processor_ratio": round(other_processor / processor, 1)}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main([int(a) for a in sys.argv[1:]] or [256, 1024])
