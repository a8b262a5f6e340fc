/// A function applied to each output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x·Φ(x)`, with the distribution function of the normal distribution.
    Gelu,
    /// `x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`.
    GeluTanh,
    /// `max(x, 0)`; NaN stays.
    Relu,
    /// `x / (1 + e⁻ˣ)`.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// The value at `x`.
    pub fn value(self, x: f32) -> f32 {
        let wide = f64::from(x);
        match self {
            Self::Gelu if wide < -40.0 => 0.0 * x,
            Self::Gelu => (0.5 * wide * (1.0 + erf(wide * std::f64::consts::FRAC_1_SQRT_2))) as f32,
            Self::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044715 * wide * wide * wide);
                (0.5 * wide * (1.0 + inner.tanh())) as f32
            }
            Self::Relu if x < 0.0 => 0.0,
            Self::Relu => x,
            Self::Silu => (wide / (1.0 + (-wide).exp())) as f32,
            Self::Tanh => wide.tanh() as f32,
        }
    }
}

/// By the series 2/√π·e^(−x²)·Σ 2ⁱ·x^(2i+1) / (1·3·…·(2i+1)), whose terms have one sign.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-18 * sum.abs() {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}
