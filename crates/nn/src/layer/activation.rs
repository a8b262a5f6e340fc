use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops;
use parallax_kernels::activation::Activation as Kernel;

/// An elementwise function between linear layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x.
    #[default]
    Identity,
    /// tanh x.
    Tanh,
    /// max(x, 0).
    Relu,
    /// x · Φ(x), exact.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// x · σ(x).
    Silu,
}

/// Our activation, its name in a Hugging Face `config.json`, its Python class in a sentence-transformers `Dense`.
const NAMES: [(Activation, &[&str], &str); 6] = [
    (Activation::Identity, &["linear"], "torch.nn.modules.linear.Identity"),
    (Activation::Tanh, &["tanh"], "torch.nn.modules.activation.Tanh"),
    (Activation::Relu, &["relu"], "torch.nn.modules.activation.ReLU"),
    (Activation::Gelu, &["gelu", "gelu_python"], "torch.nn.modules.activation.GELU"),
    (Activation::GeluTanh, &["gelu_new", "gelu_pytorch_tanh", "gelu_fast"], ""),
    (Activation::Silu, &["silu", "swish"], "torch.nn.modules.activation.SiLU"),
];

impl Activation {
    /// From `hidden_act` of a Hugging Face configuration.
    pub fn from_hugging_face(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, names, _)| names.contains(&name)).map(|n| n.0)
    }

    /// From the `activation_function` of a sentence-transformers `Dense`: a full Python class name.
    pub fn from_python(name: &str) -> Option<Self> {
        let class = name.rsplit('.').next()?;
        if !name.starts_with("torch.nn.") {
            return None;
        }
        NAMES.iter().find(|(_, _, python)| python.rsplit('.').next() == Some(class)).map(|n| n.0)
    }

    /// The Python class that computes the same, where PyTorch has one without arguments.
    pub fn python(self) -> Option<&'static str> {
        NAMES.iter().find(|n| n.0 == self).map(|n| n.2).filter(|name| !name.is_empty())
    }

    /// x `[N, D]` to `[N, D]`.
    pub fn forward(self, x: Tensor<2>) -> Tensor<2> {
        ops::activate(x, self)
    }

    /// The kernels' name of it; `None` for the identity.
    pub(crate) fn kernel(self) -> Option<Kernel> {
        match self {
            Activation::Identity => None,
            Activation::Tanh => Some(Kernel::Tanh),
            Activation::Relu => Some(Kernel::Relu),
            Activation::Gelu => Some(Kernel::Gelu),
            Activation::GeluTanh => Some(Kernel::GeluTanh),
            Activation::Silu => Some(Kernel::Silu),
        }
    }
}
