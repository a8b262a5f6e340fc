//! A multiplied angle, with proxies of length 1.

use super::multiple_angle::length_loss;

length_loss! {
    /// `−log( e^z / (e^z + Σ_{j≠y} e^(c·‖x‖ cos θ_j)) )` with `z = c·‖x‖·ψ(θ_y)`, one element an anchor, where
    /// `ψ(θ) = (−1)^k cos(mθ) − 2k` for `θ` in `[kπ/m, (k+1)π/m]`. The anchor keeps its length, proxies do not.
    ///
    /// Defaults: margin m = 4, scale c = 1, cosine with lengths (no other distance), mean. Liu et al., *SphereFace: Deep
    /// Hypersphere Embedding for Face Recognition*, CVPR 2017.
    Sphereface, "sphereface", unit_proxies true
}
