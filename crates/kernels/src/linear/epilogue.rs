use super::Activation;

/// What is done to a product before it is stored, in this order: bias, `keep`, activation, residual.
#[derive(Debug, Default)]
pub struct Epilogue<'a> {
    /// `[n]`, added to every row.
    pub bias: Option<&'a [f32]>,
    /// Applied to product and bias.
    pub activation: Option<Activation>,
    /// `[m, n]`: where the values before the activation are left, for the backward pass.
    pub keep: Option<&'a mut [f32]>,
    /// `[m, n]`, added last.
    pub residual: Option<&'a [f32]>,
}

impl Epilogue<'_> {
    pub(super) fn check(&self, m: usize, n: usize) {
        let full = |len: usize| len == m * n;
        assert!(
            self.bias.is_none_or(|bias| bias.len() == n)
                && self.keep.as_ref().is_none_or(|keep| full(keep.len()))
                && self.residual.is_none_or(|residual| full(residual.len())),
            "the epilogue of a product of {m}×{n} has slices of other lengths"
        );
    }
}
