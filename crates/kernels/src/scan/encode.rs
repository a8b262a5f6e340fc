//! Rows rounded for a tile, and how far they are from what they were.

use super::{Form, Metric, on};
use crate::isa::Isa;

/// Half the distance between 1 and the next larger number.
pub(super) const U: f64 = 1.0 / (1u64 << 24) as f64;

/// What is known of a rounded row; every number but `bias` and `scale` is an upper bound.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// ‖x'‖.
    pub(super) norm: f64,
    /// ‖x' − x̂‖.
    pub(super) residue: f64,
    /// ‖x̂ − hi‖ of a row in two parts: the product of two low parts is left out.
    pub(super) low: f64,
    /// What a code stands for; 1 but for [`Form::Int8`].
    pub(super) scale: f32,
    /// ‖x'‖²/2 or −μ·x', in 32 bits.
    pub(super) bias: f32,
}

impl Facts {
    /// The larger of each but the scale, for several rows together.
    pub(super) fn widen(&mut self, other: &Facts) {
        self.norm = self.norm.max(other.norm);
        self.residue = self.residue.max(other.residue);
        self.low = self.low.max(other.low);
        self.bias = self.bias.max(other.bias.abs());
    }
}

/// Bytes of a rounded row: whole cache lines.
pub(super) fn stride(form: Form, dim: usize) -> usize {
    match form {
        Form::Single => 0,
        Form::Half => (dim * 2).next_multiple_of(64),
        Form::Split => 3 * (dim * 2).next_multiple_of(64),
        Form::Int8 => dim.next_multiple_of(64),
    }
}

/// Which of the two sides of a product a row stands on: the low parts of a row in two are laid out crosswise.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Query,
    Row,
}

/// Rounds `row − centre` into `out`, `stride(form, dim)` bytes, and zeros after it; `moved` is room for one row.
pub(super) fn encode(
    isa: Isa,
    form: Form,
    metric: Metric,
    side: Side,
    row: &[f32],
    centre: &[f32],
    moved: &mut Vec<f32>,
    out: &mut [u8],
) -> Facts {
    moved.resize(row.len(), 0.0);
    let moved = moved.as_mut_slice();
    let (square, along) = on!(isa, centred(row: &[f32], centre: &[f32], moved: &mut [f32]) -> (f32, f32));
    let dim = row.len();
    // Sums of squares in 32 bits, and squares that vanished.
    let root = |sum: f32| {
        (f64::from(sum) * (1.0 + (dim + 8) as f64 * 2.0 * U) + dim as f64 * 1.5e-38).sqrt() * (1.0 + 1e-12)
    };
    let norm = root(square) * (1.0 + 2.0 * U);
    let bias = match metric {
        Metric::Dot => -along,
        Metric::Euclidean => 0.5 * square,
    };
    let moved: &[f32] = moved;
    let (residue, low, scale) = match form {
        Form::Single => (0.0, 0.0, 1.0),
        Form::Half => {
            out[2 * dim..].fill(0);
            let lost = on!(isa, halves(moved: &[f32], out: &mut [u8]) -> f32);
            (root(lost), 0.0, 1.0)
        }
        Form::Split => {
            let third = out.len() / 3;
            out.chunks_exact_mut(third).for_each(|part| part[2 * dim..].fill(0));
            let (high, rest) = out.split_at_mut(third);
            let (second, last) = rest.split_at_mut(third);
            // hi, lo, hi against hi, hi, lo.
            let (again, low) = if side == Side::Query { (second, last) } else { (last, second) };
            let (part, lost) = on!(isa, split(moved: &[f32], high: &mut [u8], low: &mut [u8]) -> (f32, f32));
            again.copy_from_slice(high);
            (root(lost), root(part) + root(lost), 1.0)
        }
        Form::Int8 => {
            out[dim..].fill(0);
            let (scale, lost) = on!(isa, codes(moved: &[f32], out: &mut [u8]) -> (f32, f64));
            (lost.sqrt() * (1.0 + 1e-9), 0.0, scale)
        }
    };
    // Moving the row rounded each of its numbers once.
    let rounded = if form == Form::Single { 0.0 } else { norm * U };
    Facts { norm, residue: residue + rounded, low, scale, bias }
}

const LANES: usize = 16;

fn add_lanes(mut lanes: [f32; LANES]) -> f32 {
    for width in [8, 4, 2, 1] {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}

/// `out = row − centre`; returns ‖out‖² and centre·out.
#[inline(always)]
fn centred(row: &[f32], centre: &[f32], out: &mut [f32]) -> (f32, f32) {
    let (mut squares, mut along) = ([0.0f32; LANES], [0.0f32; LANES]);
    for ((row, centre), out) in row.chunks(LANES).zip(centre.chunks(LANES)).zip(out.chunks_mut(LANES)) {
        if let (Ok(row), Ok(centre), Ok(out)) = (
            <&[f32; LANES]>::try_from(row),
            <&[f32; LANES]>::try_from(centre),
            <&mut [f32; LANES]>::try_from(&mut *out),
        ) {
            for k in 0..LANES {
                out[k] = row[k] - centre[k];
                squares[k] += out[k] * out[k];
                along[k] += out[k] * centre[k];
            }
            continue;
        }
        for (k, ((&row, &centre), out)) in row.iter().zip(centre).zip(out).enumerate() {
            *out = row - centre;
            squares[k] += *out * *out;
            along[k] += *out * centre;
        }
    }
    (add_lanes(squares), add_lanes(along))
}

/// The nearest bf16 number, ties to even, as the upper half of its bits. What tiles take for zero is zero, and no finite
/// number becomes infinite.
#[inline(always)]
fn half(x: f32) -> u32 {
    let bits = x.to_bits();
    let near = (bits.wrapping_add(0x7fff + (bits >> 16 & 1))) & 0xffff_0000;
    let near = if near & 0x7f80_0000 == 0x7f80_0000 { bits & 0xffff_0000 } else { near };
    if bits & 0x7fff_ffff < 0x0080_0000 { 0 } else { near }
}

/// Rounds to bf16; returns the square of what was lost.
#[inline(always)]
fn halves(values: &[f32], out: &mut [u8]) -> f32 {
    let mut lost = [0.0f32; LANES];
    let (wide, rest) = values.as_chunks::<LANES>();
    let (out_wide, out_rest) = out.split_at_mut(wide.len() * 2 * LANES);
    for (values, out) in wide.iter().zip(out_wide.as_chunks_mut::<{ 2 * LANES }>().0) {
        let mut packed = [0u16; LANES];
        for k in 0..LANES {
            let near = half(values[k]);
            packed[k] = (near >> 16) as u16;
            // Exact: the two differ in their lower bits only.
            let apart = values[k] - f32::from_bits(near);
            lost[k] += apart * apart;
        }
        for k in 0..LANES {
            [out[2 * k], out[2 * k + 1]] = packed[k].to_le_bytes();
        }
    }
    for (k, (&value, out)) in rest.iter().zip(out_rest.as_chunks_mut::<2>().0).enumerate() {
        let near = half(value);
        *out = ((near >> 16) as u16).to_le_bytes();
        let apart = value - f32::from_bits(near);
        lost[k] += apart * apart;
    }
    add_lanes(lost)
}

/// Rounds to the sum of two bf16 numbers; returns the squares of the low part and of what was lost.
#[inline(always)]
fn split(values: &[f32], high: &mut [u8], low: &mut [u8]) -> (f32, f32) {
    let (mut part, mut lost) = ([0.0f32; LANES], [0.0f32; LANES]);
    let parts = high.chunks_mut(2 * LANES).zip(low.chunks_mut(2 * LANES));
    for (values, (high, low)) in values.chunks(LANES).zip(parts) {
        let mut x = [0.0f32; LANES];
        x[..values.len()].copy_from_slice(values);
        let (mut first, mut second) = ([0u16; LANES], [0u16; LANES]);
        for k in 0..LANES {
            let near = half(x[k]);
            first[k] = (near >> 16) as u16;
            let rest = x[k] - f32::from_bits(near);
            let after = half(rest);
            second[k] = (after >> 16) as u16;
            let apart = rest - f32::from_bits(after);
            part[k] += rest * rest;
            lost[k] += apart * apart;
        }
        for (out, code) in high.as_chunks_mut::<2>().0.iter_mut().zip(first) {
            *out = code.to_le_bytes();
        }
        for (out, code) in low.as_chunks_mut::<2>().0.iter_mut().zip(second) {
            *out = code.to_le_bytes();
        }
    }
    (add_lanes(part), add_lanes(lost))
}

/// Rounds to whole multiples of one scale, from −127 to 127; returns the scale and the square of what was lost.
#[inline(always)]
fn codes(values: &[f32], out: &mut [u8]) -> (f32, f64) {
    let largest = values.iter().fold(0.0f32, |most, x| if x.abs() > most { x.abs() } else { most });
    let scale = largest / 127.0;
    // A scale that is not a normal number has too few digits; the row is then all residue.
    let (scale, inverse) = if scale >= f32::MIN_POSITIVE { (scale, 1.0 / scale) } else { (0.0, 0.0) };
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    let mut lost = [0.0f64; 8];
    for (values, out) in values.chunks(8).zip(out.chunks_mut(8)) {
        for (lane, (&value, out)) in values.iter().zip(out).enumerate() {
            // `as` clamps, and the largest may have been divided to a little more than 127.
            let code = ((value * inverse).round_ties_even() as i8).max(-127);
            *out = code as u8;
            let apart = f64::from(value) - f64::from(code) * f64::from(scale);
            lost[lane] += apart * apart;
        }
    }
    (scale, lost.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa;

    fn number(bytes: &[u8], at: usize) -> f64 {
        f64::from(f32::from_bits(u32::from(u16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]])) << 16))
    }

    /// The exact norm of `row − centre − rounded`.
    fn residue(row: &[f32], centre: &[f32], rounded: impl Fn(usize) -> f64) -> f64 {
        let apart = |i: usize| (f64::from(row[i]) - f64::from(centre[i]) - rounded(i)).powi(2);
        (0..row.len()).map(apart).sum::<f64>().sqrt()
    }

    #[test]
    fn residues_bound_what_was_lost_and_closely() {
        for isa in isa::available() {
            for (dim, size) in
                [(1, 1.0f32), (7, 1e-3), (33, 5.0), (384, 1.0), (100, 1e-30), (65, 3e37), (20, 1e-40)]
            {
                let row: Vec<f32> =
                    (0..dim).map(|i| (((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0) * size).collect();
                let centre: Vec<f32> = (0..dim).map(|i| ((i * 31) % 17) as f32 / 17.0 * size * 0.3).collect();
                for form in [Form::Half, Form::Split, Form::Int8] {
                    let mut out = vec![0u8; stride(form, dim)];
                    let facts =
                        encode(isa, form, Metric::Dot, Side::Row, &row, &centre, &mut Vec::new(), &mut out);
                    let lost = residue(&row, &centre, |i| match form {
                        Form::Half => number(&out, i),
                        Form::Split => number(&out, i) + number(&out[out.len() / 3..], i),
                        _ => f64::from(out[i] as i8) * f64::from(facts.scale),
                    });
                    let norm = residue(&row, &centre, |_| 0.0);
                    assert!(
                        lost <= facts.residue && norm <= facts.norm,
                        "{form:?} {dim} {size}: {lost} {facts:?}"
                    );
                    if (1e-10..1e18).contains(&f64::from(size)) && dim > 4 {
                        let part = [0.004, 2e-5, 0.02]
                            [[Form::Half, Form::Split, Form::Int8].iter().position(|f| *f == form).unwrap()];
                        assert!(
                            facts.residue < part * norm && facts.norm < 1.001 * norm,
                            "{form:?} {facts:?} {norm}"
                        );
                        assert!(facts.residue < 1.3 * lost + norm * 1.3e-7, "{form:?} {facts:?} {lost}");
                    }
                }
            }
        }
    }

    #[test]
    fn rounding_is_to_the_nearest_even_and_never_to_infinity() {
        let of = |x: f32| f32::from_bits(half(x));
        assert_eq!([of(1.0), of(-1.0 - 1.0 / 256.0), of(1.0 + 3.0 / 256.0)], [1.0, -1.0, 1.0 + 4.0 / 256.0]);
        assert_eq!([of(0.0), of(1e-40), of(-1e-40)], [0.0; 3]);
        assert!(of(f32::MAX).is_finite() && of(f32::MIN).is_finite());
    }
}
