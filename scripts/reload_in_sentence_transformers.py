"""Open a saved model folder in sentence-transformers and compare its vectors with ours.

    HF_HUB_OFFLINE=1 python scripts/reload_in_sentence_transformers.py MODEL_DIR TEXTS.txt VECTORS.npy

TEXTS.txt has one text a line (UTF-8, a line may be empty); VECTORS.npy is a float array [lines, dimension]. Prints one
JSON line with the largest absolute difference and exits 1 if it is above 1e-4, not finite, or the shapes differ.
Exits 2 when an input cannot be read.
"""

import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

TOLERANCE = 1e-4


def main(model_dir, texts_path, vectors_path):
    import numpy as np
    import sentence_transformers

    try:
        if not os.path.isdir(model_dir):
            raise FileNotFoundError(f"{model_dir} is not a folder")
        with open(texts_path, encoding="utf-8", newline="\n") as file:
            content = file.read()
        texts = content.removesuffix("\n").split("\n") if content else []
        ours = np.load(vectors_path, allow_pickle=False).astype(np.float64)
        model = sentence_transformers.SentenceTransformer(model_dir, device="cpu")
    except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        print(f"cannot read the inputs: {error}", file=sys.stderr)
        return 2
    theirs = np.asarray(model.encode(texts, show_progress_bar=False), dtype=np.float64)
    line = {
        "peer": f"sentence-transformers {sentence_transformers.__version__}",
        "model": os.path.basename(os.path.normpath(model_dir)),
        "texts": len(texts),
        "shape": list(ours.shape),
    }
    if ours.shape != theirs.shape:
        print(json.dumps({**line, "peer_shape": list(theirs.shape), "ok": False}))
        return 1
    difference = float(np.abs(ours - theirs).max()) if ours.size else 0.0
    ok = difference <= TOLERANCE  # a NaN compares false
    shown = difference if np.isfinite(difference) else None
    print(json.dumps({**line, "max_abs_difference": shown, "tolerance": TOLERANCE, "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    if len(sys.argv) != 4:
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
