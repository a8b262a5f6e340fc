//! A multiplied angle, with proxies that keep their lengths.

use super::multiple_angle::length_loss;

length_loss! {
    /// `−log( e^z / (e^z + Σ_{j≠y} e^(c·x·w_j)) )` with `z = c·‖x‖·‖w_y‖·ψ(θ_y)`, one element an anchor, where
    /// `ψ(θ) = (−1)^k cos(mθ) − 2k` for `θ` in `[kπ/m, (k+1)π/m]`. The anchor and the proxies `w` keep their lengths.
    ///
    /// Defaults: margin m = 4, scale c = 1, cosine with lengths (no other distance), mean. Liu et al., *Large-Margin Softmax
    /// Loss for Convolutional Neural Networks*, ICML 2016.
    LargeMarginSoftmax, "large_margin_softmax", unit_proxies false
}
