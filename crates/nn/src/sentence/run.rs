//! Many inputs at once, in batches of similar length.

use std::sync::Arc;

use rayon::prelude::*;

use super::{Input, SentenceEncoder};
use crate::encoder::Encoder;
use crate::folder::Calibration;
use crate::{Error, Pass, Result, Role, ops};

/// Tokens that are looked at together for a calibration.
const CALIBRATED_AT_ONCE: usize = 16_384;

/// Tokens that one thread works on at once: what they become inside a block still fits the second-level cache.
const PIECE: usize = 1024;

/// Consecutive texts of about equal numbers of tokens, at least one for each thread as long as there are texts.
fn pieces<'a>(batch: &'a [usize], inputs: &[Input]) -> Vec<&'a [usize]> {
    let tokens: usize = batch.iter().map(|&i| inputs[i].tokens()).sum();
    let threads = rayon::current_num_threads();
    let count = tokens.div_ceil(PIECE).max(threads).min(batch.len()).max(1);
    let (mut pieces, mut from, mut sum) = (Vec::with_capacity(count), 0, 0);
    for (at, &i) in batch.iter().enumerate() {
        sum += inputs[i].tokens();
        if sum * count >= tokens * (pieces.len() + 1) && pieces.len() + 1 < count {
            pieces.push(&batch[from..=at]);
            from = at + 1;
        }
    }
    if from < batch.len() {
        pieces.push(&batch[from..]);
    }
    pieces
}

impl SentenceEncoder {
    /// Notes how large the inputs of the encoder's linear layers are on some texts, for
    /// [`Precision::Int8`](crate::Precision::Int8); written by [`folder::save`](crate::folder::save). `progress` is told how
    /// many texts are done.
    ///
    /// # Errors
    /// A model without a transformer, or inputs that it does not read.
    pub fn calibrate(&mut self, inputs: &[Input], progress: impl FnMut(usize)) -> Result<()> {
        let pass = Pass::inference().observing();
        self.run(inputs, CALIBRATED_AT_ONCE, &pass, progress)?;
        let Some(Encoder::Transformer(encoder)) = &mut self.network.encoder else {
            return Err(Error::Setting("only a transformer has products to calibrate".into()));
        };
        self.calibration = Some(Arc::new(Calibration::of(encoder)));
        Ok(())
    }

    /// Embeddings of tokenised texts or stored vectors as queries, row-major `[n, dim]`, in batches of similar length that hold
    /// about `token_budget` tokens; `progress` is told how many are done.
    ///
    /// Runs on the current rayon pool. On the CPU a text's vector is the same to the last bit whatever stands beside it in
    /// a batch, and for any number of threads.
    pub fn embed(
        &self,
        inputs: &[Input],
        token_budget: usize,
        progress: impl FnMut(usize),
    ) -> Result<Vec<f32>> {
        self.embed_as(Role::Query, inputs, token_budget, progress)
    }

    /// [`embed`](Self::embed) for one side of a search; the same for models that are not
    /// [`two_sided`](Self::two_sided).
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn embed_as(
        &self,
        role: Role,
        inputs: &[Input],
        token_budget: usize,
        progress: impl FnMut(usize),
    ) -> Result<Vec<f32>> {
        let pass = Pass::inference().with_precision(self.precision).on_side(role);
        self.run(inputs, token_budget, &pass, progress)
    }

    fn run(
        &self,
        inputs: &[Input],
        token_budget: usize,
        pass: &Pass,
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<f32>> {
        let dim = self.dim();
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by_key(|&i| (std::cmp::Reverse(inputs[i].tokens()), i));
        let mut out = vec![0f32; inputs.len() * dim];
        let parallel = ops::fused_on(&self.device());
        let (mut from, mut done) = (0, 0);
        while from < order.len() {
            let longest = inputs[order[from]].tokens().max(1);
            let to = (from + (token_budget / longest).max(1)).min(order.len());
            let batch = &order[from..to];
            let pieces = if parallel { pieces(batch, inputs) } else { vec![batch] };
            let vectors = |piece: &&[usize]| -> Result<Vec<f32>> {
                let batch: Vec<&Input> = piece.iter().map(|&i| &inputs[i]).collect();
                let data = self.forward(&batch, pass)?.into_data();
                data.try_into_vec().map_err(|e| Error::Setting(format!("{e:?}")))
            };
            let vectors: Vec<Vec<f32>> = if pieces.len() == 1 {
                vec![vectors(&pieces[0])?]
            } else {
                pieces.par_iter().with_max_len(1).map(vectors).collect::<Result<_>>()?
            };
            for (&i, row) in batch.iter().zip(vectors.iter().flat_map(|values| values.chunks_exact(dim))) {
                out[i * dim..(i + 1) * dim].copy_from_slice(row);
            }
            done += to - from;
            progress(done);
            from = to;
        }
        Ok(out)
    }
}
