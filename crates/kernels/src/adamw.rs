//! AdamW over all parameters in one pass (Loshchilov and Hutter 2019, arXiv 1711.05101).

use crate::isa::{self, Isa};
use crate::lanes::{self, Body, Lanes};
use crate::share::{self, Parts};

/// Values per unit of work, and per partial sum of the norm.
const BLOCK: usize = 1 << 15;

/// One parameter with its gradient and moments, all of one length.
#[derive(Debug)]
pub struct Parameter<'a> {
    /// θ.
    pub values: &'a mut [f32],
    /// g.
    pub gradient: &'a [f32],
    /// m.
    pub first: &'a mut [f32],
    /// v.
    pub second: &'a mut [f32],
    /// Learning rate of this step.
    pub lr: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// What a step has in common for all parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// β₁ and β₂.
    pub betas: [f64; 2],
    /// ε, added to √v̂.
    pub eps: f64,
    /// The number of the step, from 1.
    pub t: u64,
    /// What gradients are multiplied with first (clipping).
    pub scale: f32,
}

/// `g ← scale · g`, `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`, `θ ← θ − lr · decay · θ − lr · m̂ / (√v̂ + ε)` with
/// `m̂ = m / (1 − β₁ᵗ)`, `v̂ = v / (1 − β₂ᵗ)`, on all threads of the current pool.
///
/// Every operation is rounded by itself, so that all instruction sets give the same bytes.
///
/// # Panics
/// If the slices of a parameter differ in length.
pub fn update(step: Step, parameters: &mut [Parameter<'_>]) {
    update_on(isa::current(), step, parameters);
}

/// Σ x² of every slice in f64: blocks of 32,768 values, added in order, the same for any number of threads.
pub fn squared_norms(slices: &[&[f32]]) -> Vec<f64> {
    let blocks: Vec<(usize, &[f32])> =
        slices.iter().enumerate().flat_map(|(at, x)| x.chunks(BLOCK).map(move |x| (at, x))).collect();
    let isa = isa::current();
    let sums =
        share::collect(blocks.len(), blocks.len() * BLOCK, |at| lanes::run(isa, Squares(blocks[at].1)));
    let mut norms = vec![0.0; slices.len()];
    blocks.iter().zip(sums).for_each(|((at, _), sum)| norms[*at] += sum);
    norms
}

/// Σ x² over all slices, slice by slice in order; see [`squared_norms`].
pub fn squared_norm(slices: &[&[f32]]) -> f64 {
    squared_norms(slices).iter().sum()
}

/// √(Σ x²) over all slices; see [`squared_norm`].
pub fn global_norm(slices: &[&[f32]]) -> f64 {
    squared_norm(slices).sqrt()
}

struct Squares<'a>(&'a [f32]);

impl Body for Squares<'_> {
    type Out = f64;
    #[inline(always)]
    fn call<L: Lanes>(self, _: L) -> f64 {
        // Plain code in eight lanes, which the compiler vectorises: the same order of sums on every instruction set.
        let mut lanes = [0.0f64; 16];
        let (wide, rest) = self.0.as_chunks::<16>();
        for x in wide {
            for k in 0..16 {
                lanes[k] += f64::from(x[k]) * f64::from(x[k]);
            }
        }
        for (k, x) in rest.iter().enumerate() {
            lanes[k] += f64::from(*x) * f64::from(*x);
        }
        lanes.iter().sum()
    }
}

/// The constants of one parameter, rounded as the scalar formula rounds them.
#[derive(Clone, Copy)]
struct Constants {
    scale: f32,
    b1: f32,
    b2: f32,
    c1: f32,
    c2: f32,
    keep: f32,
    rate: f32,
    root: f32,
    eps: f32,
}

impl Constants {
    fn new(step: &Step, lr: f64, weight_decay: f64) -> Self {
        let [b1, b2] = step.betas;
        let t = step.t as f64;
        Constants {
            scale: step.scale,
            b1: b1 as f32,
            b2: b2 as f32,
            c1: (1.0 - b1) as f32,
            c2: (1.0 - b2) as f32,
            keep: (1.0 - lr * weight_decay) as f32,
            rate: (lr / (1.0 - b1.powf(t))) as f32,
            root: (1.0 - b2.powf(t)).sqrt() as f32,
            eps: step.eps as f32,
        }
    }

    /// New value and moments from a value, its gradient and its moments.
    #[inline(always)]
    fn next<L: Lanes>(&self, l: L, x: L::V, g: L::V, m: L::V, v: L::V) -> (L::V, L::V, L::V) {
        let g = l.mul(g, l.splat(self.scale));
        let m = l.add(l.mul(l.splat(self.b1), m), l.mul(l.splat(self.c1), g));
        let v = l.add(l.mul(l.splat(self.b2), v), l.mul(l.mul(l.splat(self.c2), g), g));
        let size = l.add(l.div(l.sqrt(v), l.splat(self.root)), l.splat(self.eps));
        let step = l.div(l.mul(l.splat(self.rate), m), size);
        (l.sub(l.mul(x, l.splat(self.keep)), step), m, v)
    }
}

struct Block<'a> {
    constants: Constants,
    values: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl Body for Block<'_> {
    type Out = ();
    #[inline(always)]
    fn call<L: Lanes>(self, l: L) {
        let Block { constants: c, values, gradient, first, second } = self;
        let n = values.len();
        let (x, g, m, v) = (values.as_mut_ptr(), gradient.as_ptr(), first.as_mut_ptr(), second.as_mut_ptr());
        let whole = n / L::N * L::N;
        // SAFETY: all four slices have n values (asserted by `update_on`).
        unsafe {
            for k in (0..whole).step_by(L::N) {
                let new = c.next(l, l.load(x.add(k)), l.load(g.add(k)), l.load(m.add(k)), l.load(v.add(k)));
                l.store(x.add(k), new.0);
                l.store(m.add(k), new.1);
                l.store(v.add(k), new.2);
            }
            if whole < n {
                let left = n - whole;
                let (x, g, m, v) = (x.add(whole), g.add(whole), m.add(whole), v.add(whole));
                let old = (l.load_part(x, left), l.load_part(m, left), l.load_part(v, left));
                let new = c.next(l, old.0, l.load_part(g, left), old.1, old.2);
                l.store_part(x, left, new.0);
                l.store_part(m, left, new.1);
                l.store_part(v, left, new.2);
            }
        }
    }
}

fn update_on(isa: Isa, step: Step, parameters: &mut [Parameter<'_>]) {
    let mut blocks = Vec::new();
    let mut total = 0;
    let parts: Vec<_> = parameters
        .iter_mut()
        .enumerate()
        .map(|(at, p)| {
            let n = p.values.len();
            assert!(
                p.gradient.len() == n && p.first.len() == n && p.second.len() == n,
                "a parameter of {n} values with a gradient of {} and moments of {} and {}",
                p.gradient.len(),
                p.first.len(),
                p.second.len()
            );
            total += n;
            blocks.extend((0..n).step_by(BLOCK).map(|start| (at, start..n.min(start + BLOCK))));
            let constants = Constants::new(&step, p.lr, p.weight_decay);
            (constants, Parts::new(p.values), p.gradient, Parts::new(p.first), Parts::new(p.second))
        })
        .collect();
    share::jobs(blocks.len(), total, |at| {
        let (parameter, range) = blocks[at].clone();
        let (constants, values, gradient, first, second) = parts[parameter];
        // SAFETY: blocks are disjoint.
        let block = unsafe {
            Block {
                constants,
                values: values.part(range.clone()),
                gradient: &gradient[range.clone()],
                first: first.part(range.clone()),
                second: second.part(range),
            }
        };
        lanes::run(isa, block);
    });
}

#[cfg(test)]
mod tests;
