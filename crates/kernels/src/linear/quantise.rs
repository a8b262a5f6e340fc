//! Rows of 32-bit numbers as 8-bit integers with one scale, the same bits on every instruction set.

use crate::isa::Isa;

/// Codes that are written at a time.
pub(super) const CHUNK: usize = 64;

/// What 8-bit weights need beside their codes.
#[derive(Clone, Debug)]
pub(super) struct Scales {
    /// For each output channel.
    pub(super) scale: Vec<f32>,
    /// The sum of the codes of each output channel, with zeros up to a whole panel.
    pub(super) sums: Vec<i32>,
    /// For each input channel, what x is multiplied by.
    pub(super) unsmooth: Option<Vec<f32>>,
}

/// Quantises each row of `x[rows, k]`, times `factors[k]`: writes `max |row| / 127` to `steps` and hands the codes,
/// `row / step` rounded to the nearest (ties to even), to `put` as (row, chunk of 64, codes). The last chunk is filled
/// with zeros. A row that is not finite has the step NaN, one whose numbers are below 10⁻³⁶ the step 0.
pub(super) fn rows(
    isa: Isa,
    x: &[f32],
    k: usize,
    factors: Option<&[f32]>,
    steps: &mut [f32],
    put: impl FnMut(usize, usize, &[i8; CHUNK]),
) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Amx | Isa::Avx512 => {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn wide(
                x: &[f32],
                k: usize,
                factors: Option<&[f32]>,
                steps: &mut [f32],
                put: impl FnMut(usize, usize, &[i8; CHUNK]),
            ) {
                any(x, k, factors, steps, put);
            }
            // SAFETY: packed weights exist only for an instruction set that was found.
            unsafe { wide(x, k, factors, steps, put) }
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => {
            #[target_feature(enable = "avx2,fma")]
            fn wide(
                x: &[f32],
                k: usize,
                factors: Option<&[f32]>,
                steps: &mut [f32],
                put: impl FnMut(usize, usize, &[i8; CHUNK]),
            ) {
                any(x, k, factors, steps, put);
            }
            // SAFETY: as above.
            unsafe { wide(x, k, factors, steps, put) }
        }
        _ => any(x, k, factors, steps, put),
    }
}

#[inline(always)]
fn any(
    x: &[f32],
    k: usize,
    factors: Option<&[f32]>,
    steps: &mut [f32],
    mut put: impl FnMut(usize, usize, &[i8; CHUNK]),
) {
    let mut factored = vec![0.0; if factors.is_some() { k } else { 0 }];
    for (r, step) in steps.iter_mut().enumerate() {
        let mut row = &x[r * k..(r + 1) * k];
        if let Some(factors) = factors {
            for ((to, x), f) in factored.iter_mut().zip(row).zip(factors) {
                *to = x * f;
            }
            row = &factored;
        }
        // As bits, magnitudes are in order, with infinity and NaN above all numbers.
        let mut most = 0;
        for v in row {
            most = most.max(v.to_bits() & 0x7fff_ffff);
        }
        let most = f32::from_bits(most);
        let mut inverse = 127.0 / most;
        *step = most / 127.0;
        if !most.is_finite() || !inverse.is_finite() {
            *step = if most.is_finite() { 0.0 } else { f32::NAN };
            inverse = 0.0;
        }
        let (whole, rest) = row.as_chunks::<CHUNK>();
        for (chunk, v) in whole.iter().enumerate() {
            put(r, chunk, &codes(v, inverse));
        }
        if !rest.is_empty() {
            let mut v = [0.0; CHUNK];
            v[..rest.len()].copy_from_slice(rest);
            put(r, whole.len(), &codes(&v, inverse));
        }
    }
}

#[inline(always)]
fn codes(v: &[f32; CHUNK], inverse: f32) -> [i8; CHUNK] {
    // Adding 1.5·2²³ leaves the nearest whole number in the low bits.
    const WHOLE: f32 = 12_582_912.0;
    let mut codes = [0; CHUNK];
    for (code, v) in codes.iter_mut().zip(v) {
        *code = (v * inverse + WHOLE).to_bits() as i8;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa;

    #[test]
    fn codes_are_the_nearest_on_every_instruction_set() {
        let k = 70;
        let mut x: Vec<f32> = (0..5 * k).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.31).collect();
        x[k..2 * k].fill(0.0);
        x[2 * k + 3] = f32::NEG_INFINITY;
        x[3 * k + 69] = f32::NAN;
        let factors: Vec<f32> = (0..k).map(|p| 1.0 + p as f32 / 64.0).collect();
        for isa in isa::available() {
            for factors in [None, Some(&factors[..])] {
                let mut steps = vec![0.0; 5];
                let mut got = vec![99; 5 * 128];
                rows(isa, &x, k, factors, &mut steps, |r, chunk, codes| {
                    got[r * 128 + chunk * 64..][..64].copy_from_slice(codes);
                });
                for r in [0, 1, 4] {
                    let row: Vec<f32> =
                        (0..k).map(|p| x[r * k + p] * factors.map_or(1.0, |f| f[p])).collect();
                    let most = row.iter().fold(0.0f32, |a, v| a.max(v.abs()));
                    assert_eq!(steps[r], most / 127.0);
                    for p in 0..128 {
                        let want = if p < k && most > 0.0 {
                            (row[p] * (127.0 / most)).round_ties_even() as i8
                        } else {
                            0
                        };
                        assert_eq!(got[r * 128 + p], want, "{isa} {r} {p}");
                    }
                }
                assert!(steps[2].is_nan() && steps[3].is_nan());
            }
        }
    }
}
