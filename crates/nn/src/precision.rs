use std::fmt;
use std::str::FromStr;

use parallax_kernels::isa::{self, Isa};
use parallax_kernels::linear;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the products of an encoder's linear layers are rounded. Everything else is computed in 32 bits.
///
/// Vectors of different precisions differ slightly: those that are compared should be made with one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// `bf16` where the machine multiplies tiles of it (AMX), else `f32`.
    #[default]
    Auto,
    /// 32 bits; where the machine has AMX, products of numbers split in two bf16 parts, which keep 16 bits of each factor.
    F32,
    /// Weights and inputs of 8 significant bits, sums of 32 bits.
    Bf16,
    /// Weights and inputs as 8-bit integers: needs a folder that `parallax convert quantize` made. Inference only.
    Int8,
}

impl Precision {
    /// All of them, as they are written.
    pub const NAMES: [&str; 4] = ["auto", "f32", "bf16", "int8"];

    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Auto => "auto",
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        }
    }

    /// What is used on this machine: never [`Precision::Auto`].
    pub fn resolved(self) -> Self {
        match self {
            Precision::Auto if isa::current() == Isa::Amx => Precision::Bf16,
            Precision::Auto => Precision::F32,
            other => other,
        }
    }

    /// What the kernels are asked for.
    pub(crate) fn kernel(self) -> linear::Precision {
        match self.resolved() {
            Precision::Bf16 => linear::Precision::Bf16,
            Precision::Int8 => linear::Precision::Int8,
            _ => linear::Precision::Split,
        }
    }
}

/// The instruction set that products are computed with: the best of this machine that the environment variable
/// `PARALLAX_ISA` allows.
pub fn instruction_set() -> &'static str {
    isa::current().name()
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Precision::Auto, Precision::F32, Precision::Bf16, Precision::Int8]
            .into_iter()
            .find(|p| p.name() == name)
            .ok_or_else(|| format!("unknown precision \"{name}\": {}", Precision::NAMES.join(", ")))
    }
}
