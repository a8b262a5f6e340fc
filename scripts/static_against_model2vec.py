"""STS-B Spearman of a static model that Parallax distilled, beside model2vec's from the same teacher.

    parallax convert distill TEACHER -o static
    python scripts/static_against_model2vec.py TEACHER static STSB_TEST.csv

Needs sentence-transformers, model2vec[distill] and scipy. The table has two texts and a score in its first three columns.
"""

import csv
import sys

import numpy as np
from model2vec.distill import distill
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer

teacher, static, table = sys.argv[1:4]
rows = [row for row in csv.reader(open(table, encoding="utf-8")) if len(row) >= 3]
try:
    float(rows[0][2])
except ValueError:
    rows = rows[1:]
left, right = [row[0] for row in rows], [row[1] for row in rows]
scores = [float(row[2]) for row in rows]


def spearman(encode):
    a, b = np.asarray(encode(left), dtype=np.float64), np.asarray(encode(right), dtype=np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return spearmanr((a * b).sum(1) / np.where(norms > 0, norms, 1), scores).statistic


ours = spearman(SentenceTransformer(static, device="cpu").encode)
whole = spearman(SentenceTransformer(teacher, device="cpu").encode)
peer = spearman(distill(teacher, device="cpu").encode)
print(f"pairs {len(scores)}  teacher {whole:.4f}  parallax {ours:.4f}  model2vec {peer:.4f}  difference {ours - peer:+.4f}")
