use std::borrow::Cow;

use parallax_kernels::exact::{dot, dots, on_grid, power_of_two, square_on_grid, squared_distances};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What makes one vector near another. Higher scores are nearer.
///
/// Two scores are equal, and tie, exactly if their 64-bit values agree on a grid of relative step 2⁻³⁶, which is 4,096
/// times finer than what one 32-bit number resolves and coarse enough to hide rounding of the sum. The value depends on
/// the two vectors alone, never on their rows, so equal vectors tie wherever they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// x·y / (‖x‖·‖y‖): rows are normalised in 64 bits, stored in 32; a zero row scores 0 against everything.
    #[default]
    Cosine,
    /// x·y of the rows as they are.
    Dot,
    /// −‖x − y‖², which ranks as −‖x − y‖ does.
    Euclidean,
}

impl Similarity {
    /// The score as a formula.
    pub fn definition(self) -> &'static str {
        match self {
            Similarity::Cosine => "x.y / (|x| |y|), 0 where either is the zero vector",
            Similarity::Dot => "x.y",
            Similarity::Euclidean => "-|x - y|^2",
        }
    }
}

/// Rows made ready for scoring.
pub(crate) struct Rows<'a> {
    pub(crate) values: Cow<'a, [f32]>,
    pub(crate) dim: usize,
    /// ‖x‖ of each (prepared) row.
    pub(crate) norms: Vec<f64>,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(values: &'a [f32], dim: usize, similarity: Similarity) -> Self {
        let norm = |row: &[f32]| dot(row, row).sqrt();
        let (values, norms) = match similarity {
            Similarity::Cosine => {
                let mut unit = values.to_vec();
                let norms = unit
                    .par_chunks_mut(dim)
                    .map(|row| {
                        let length = norm(row);
                        if length == 0.0 {
                            return 0.0;
                        }
                        row.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
                        norm(row)
                    })
                    .collect();
                (Cow::Owned(unit), norms)
            }
            _ => (Cow::Borrowed(values), values.par_chunks(dim).map(norm).collect::<Vec<f64>>()),
        };
        Rows { values, dim, norms }
    }

    pub(crate) fn len(&self) -> usize {
        self.norms.len()
    }

    pub(crate) fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.dim..][..self.dim]
    }
}

/// Adds the scores of pairs of rows to `out`: functions of their values alone.
pub(crate) fn scores(
    similarity: Similarity,
    a: &Rows,
    b: &Rows,
    pairs: impl Iterator<Item = (usize, usize)> + Clone,
    out: &mut Vec<f64>,
) {
    let first = out.len();
    out.reserve(pairs.size_hint().0);
    let rows: Vec<(&[f32], &[f32])> = pairs.clone().map(|(i, j)| (a.row(i), b.row(j))).collect();
    match similarity {
        Similarity::Cosine | Similarity::Dot => dots(&rows, out),
        Similarity::Euclidean => squared_distances(&rows, out),
    }
    for (value, (i, j)) in out[first..].iter_mut().zip(pairs) {
        *value = match similarity {
            Similarity::Cosine => on_grid(*value, 1.0),
            Similarity::Dot => on_grid(*value, power_of_two(a.norms[i]) * power_of_two(b.norms[j])),
            // A sum of squares does not cancel, so its relative error is that of one rounding or two: keep 36 bits of it.
            Similarity::Euclidean => -square_on_grid(*value) + 0.0,
        };
    }
}

/// How far one of [`scores`], for norms `x` and up to `y`, can be from the number that it rounds to its grid.
pub(crate) fn grid(similarity: Similarity, x: f64, y: f64) -> f64 {
    const STEP: f64 = 1.0 / (1u64 << 34) as f64;
    STEP * match similarity {
        Similarity::Cosine => 1.0 + x * y,
        Similarity::Dot => x * y,
        Similarity::Euclidean => (x + y) * (x + y),
    }
}

#[cfg(test)]
mod tests {
    use parallax_kernels::isa;
    use parallax_kernels::scan::{self, Form, Hit, Metric, Queries, Scratch, Sink, Tile};

    use super::*;

    fn score(similarity: Similarity, a: &Rows, i: usize, b: &Rows, j: usize) -> f64 {
        let mut out = Vec::new();
        scores(similarity, a, b, std::iter::once((i, j)), &mut out);
        out[0]
    }

    #[test]
    fn scaled_rows_tie_under_cosine() {
        let x: Vec<f32> = (0..24).map(|i| ((i * 7) % 11) as f32 - 4.7).collect();
        let mut gallery = x.clone();
        gallery.extend(x.iter().map(|v| v * 8.0));
        gallery.extend(vec![0.0; 24]);
        let query: Vec<f32> = (0..24).map(|i| ((i * 5) % 13) as f32 - 5.1).collect();
        let (q, g) = (Rows::new(&query, 24, Similarity::Cosine), Rows::new(&gallery, 24, Similarity::Cosine));
        let s: Vec<f64> = (0..3).map(|j| score(Similarity::Cosine, &q, 0, &g, j)).collect();
        assert_eq!(s[0].to_bits(), s[1].to_bits());
        assert_eq!(s[2].to_bits(), 0.0f64.to_bits());
    }

    #[test]
    fn signs_with_equally_many_agreements_tie_wherever_the_agreements_stand() {
        // ±1 codes: cosine is (agreements − disagreements)/d, whatever the places. Without the grid, rounding of the
        // sum decides between them.
        let (d, n) = (1000, 300);
        let key = parallax_random::Key::new(5);
        let query: Vec<f32> = (0..d).map(|i| if key.bits(i) & 1 == 0 { 1.0 } else { -1.0 }).collect();
        let mut gallery = Vec::new();
        for j in 0..n {
            let mut flip: Vec<usize> = (0..d as usize).collect();
            key.at(j).shuffle(&mut flip);
            let mut row = query.clone();
            flip[..300].iter().for_each(|&i| row[i] = -row[i]);
            gallery.extend(row);
        }
        for similarity in [Similarity::Cosine, Similarity::Dot, Similarity::Euclidean] {
            let (q, g) =
                (Rows::new(&query, d as usize, similarity), Rows::new(&gallery, d as usize, similarity));
            let first = score(similarity, &q, 0, &g, 0);
            assert!((0..n as usize).all(|j| score(similarity, &q, 0, &g, j) == first), "{similarity:?}");
        }
    }

    #[test]
    fn tiles_stay_within_their_stated_uncertainty() {
        let (d, n) = (257, 200);
        let key = parallax_random::Key::new(9);
        for (similarity, shift) in [
            (Similarity::Cosine, 0.0),
            (Similarity::Dot, 3.0),
            (Similarity::Euclidean, 0.0),
            (Similarity::Euclidean, 50.0),
        ] {
            let values: Vec<f32> = (0..n * d).map(|i| (key.normal(i as u64) + shift) as f32).collect();
            let rows = Rows::new(&values, d, similarity);
            let metric = if similarity == Similarity::Euclidean { Metric::Euclidean } else { Metric::Dot };
            let centre = scan::centre(&rows.values, d);
            let form = Form::fastest(isa::current());
            let mut tile = Tile::new(form, metric, d);
            tile.fill(&rows.values, &centre);
            let reach = rows.norms.iter().copied().fold(0.0, f64::max);
            let mut widest = Widest { similarity, rows: &rows, reach, widest: 0.0 };
            Queries::new(form, metric, &rows.values, d, &centre).scan(
                &tile,
                &rows.values,
                &mut Scratch::default(),
                &mut widest,
            );
            let widest = widest.widest;
            assert!(
                widest < 1.0 && widest > 0.001,
                "{similarity:?} shifted by {shift}: {widest} of the bound"
            );
        }
    }

    struct Widest<'a> {
        similarity: Similarity,
        rows: &'a Rows<'a>,
        reach: f64,
        widest: f64,
    }

    impl Sink for Widest<'_> {
        fn floor(&mut self, _: usize) -> f64 {
            f64::NEG_INFINITY
        }

        fn hit(&mut self, hit: Hit) {
            let exact = score(self.similarity, self.rows, hit.query, self.rows, hit.row);
            let bound = hit.error + grid(self.similarity, self.rows.norms[hit.query], self.reach);
            self.widest = self.widest.max((hit.score - exact).abs() / bound);
        }
    }
}
