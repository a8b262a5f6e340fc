use super::Precision;

/// Weights by input channel: `[k, n]`.
#[derive(Clone, Debug)]
pub(super) enum Weights {
    Float { rounded: bool, w: Vec<f32> },
    Int8 { w: Vec<i8>, scale: Vec<f32>, unsmooth: Option<Vec<f32>> },
}

impl Weights {
    pub(super) fn float(precision: Precision, n: usize, k: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let rounded = precision == Precision::Bf16;
        let round = |v: f32| if rounded { bf16(v) } else { v };
        Self::Float { rounded, w: (0..n * k).map(|i| round(at(i % n, i / n))).collect() }
    }

    pub(super) fn int8(w: &[f32], n: usize, k: usize, smooth: Option<&[f32]>) -> Self {
        let mut packed = vec![0; n * k];
        let mut scale = vec![0.0; n];
        let mut row = vec![0.0; k];
        let mut codes = vec![0; k];
        for j in 0..n {
            row.copy_from_slice(&w[j * k..(j + 1) * k]);
            if let Some(smooth) = smooth {
                row.iter_mut().zip(smooth).for_each(|(w, s)| *w *= s);
            }
            scale[j] = quantise(&row, &mut codes);
            for p in 0..k {
                packed[p * n + j] = codes[p];
            }
        }
        let unsmooth = smooth.map(|smooth| smooth.iter().map(|s| 1.0 / s).collect());
        Self::Int8 { w: packed, scale, unsmooth }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Float { w, .. } => 4 * w.len(),
            Self::Int8 { w, scale, unsmooth } => {
                w.len() + 4 * (scale.len() + unsmooth.as_ref().map_or(0, Vec::len))
            }
        }
    }

    /// One row of the product.
    pub(super) fn row(&self, x: &[f32], n: usize, y: &mut [f32]) {
        match self {
            Self::Float { rounded, w } => {
                y.fill(0.0);
                for (&x, w) in x.iter().zip(w.chunks_exact(n)) {
                    let x = if *rounded { bf16(x) } else { x };
                    y.iter_mut().zip(w).for_each(|(y, &w)| *y += x * w);
                }
            }
            Self::Int8 { w, scale, unsmooth } => {
                let mut row = x.to_vec();
                if let Some(factors) = unsmooth {
                    row.iter_mut().zip(factors).for_each(|(x, f)| *x *= f);
                }
                let mut codes = vec![0; x.len()];
                let step = quantise(&row, &mut codes);
                let mut sums = vec![0i32; n];
                for (&x, w) in codes.iter().zip(w.chunks_exact(n)) {
                    sums.iter_mut().zip(w).for_each(|(s, &w)| *s += i32::from(x) * i32::from(w));
                }
                for ((y, sum), scale) in y.iter_mut().zip(sums).zip(scale) {
                    *y = sum as f32 * (step * scale);
                }
            }
        }
    }
}

/// The nearest bf16 number, ties to even.
pub(super) fn bf16(v: f32) -> f32 {
    if v.is_nan() {
        return v;
    }
    let bits = v.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

/// Codes `row / step` with `step = max |row| / 127`, which is returned; NaN where the row is not finite.
fn quantise(row: &[f32], codes: &mut [i8]) -> f32 {
    let most = row.iter().map(|v| v.to_bits() & 0x7fff_ffff).max().unwrap_or(0);
    let most = f32::from_bits(most);
    let inverse = 127.0 / most;
    if !most.is_finite() || !inverse.is_finite() {
        codes.fill(0);
        return if most.is_finite() { 0.0 } else { f32::NAN };
    }
    codes.iter_mut().zip(row).for_each(|(code, v)| *code = (v * inverse).round_ties_even() as i8);
    most / 127.0
}
