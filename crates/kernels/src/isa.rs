//! The instruction sets that the kernels are written for, found once per process.
//!
//! The environment variable `PARALLAX_ISA` (`portable`, `avx2`, `avx512` or `amx`) lowers the choice, so that one machine
//! can run every path; it never raises it.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod permission;

/// The environment variable that lowers the choice.
pub const VARIABLE: &str = "PARALLAX_ISA";

/// An instruction set; each contains those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// What the compiler makes of plain Rust for its target.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// AMX tiles with bf16 and int8 products, and AVX-512 BF16 for the conversions. Linux only: the kernel is asked for
    /// permission to use the tile registers.
    Amx,
}

impl Isa {
    /// All of them, from the plainest.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Amx];

    /// The name that `PARALLAX_ISA` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Self, UnknownIsa> {
        Self::ALL.into_iter().find(|isa| isa.name() == name).ok_or_else(|| UnknownIsa(name.to_owned()))
    }
}

/// `PARALLAX_ISA` holds something that is not the name of an [`Isa`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIsa(
    /// What it holds.
    pub String,
);

impl fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown instruction set '{}' in {VARIABLE}: portable, avx2, avx512 or amx", self.0)
    }
}

impl std::error::Error for UnknownIsa {}

/// What `PARALLAX_ISA` asks for; `None` where it is unset or empty.
///
/// # Errors
/// [`UnknownIsa`] if it holds anything but a name. [`current`] takes that for unset.
pub fn requested() -> Result<Option<Isa>, UnknownIsa> {
    match std::env::var_os(VARIABLE) {
        None => Ok(None),
        Some(name) if name.is_empty() => Ok(None),
        Some(name) => name.to_string_lossy().parse().map(Some),
    }
}

/// The best instruction set of this machine that `PARALLAX_ISA` allows; the same for the whole life of a process.
pub fn current() -> Isa {
    static CURRENT: OnceLock<Isa> = OnceLock::new();
    *CURRENT.get_or_init(|| {
        let most = requested().ok().flatten().unwrap_or(Isa::Amx);
        Isa::ALL.into_iter().rev().find(|&isa| isa <= most && found(isa)).unwrap_or(Isa::Portable)
    })
}

/// Every instruction set up to [`current`], from the plainest: each runs here.
pub fn available() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|&isa| isa <= current())
}

#[cfg(target_arch = "x86_64")]
fn found(isa: Isa) -> bool {
    match isa {
        Isa::Portable => true,
        Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        Isa::Avx512 => {
            found(Isa::Avx2)
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
        }
        #[cfg(target_os = "linux")]
        Isa::Amx => {
            // Leaf 7, EDX: bit 22 is bf16 products of tiles, 24 the tiles, 25 int8 products. The standard library does
            // not look for them on a stable compiler.
            const BITS: u32 = 1 << 22 | 1 << 24 | 1 << 25;
            found(Isa::Avx512)
                && is_x86_feature_detected!("avx512bf16")
                && std::arch::x86_64::__cpuid(0).eax >= 7
                && std::arch::x86_64::__cpuid_count(7, 0).edx & BITS == BITS
                && permission::tiles()
        }
        #[cfg(not(target_os = "linux"))]
        Isa::Amx => false,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn found(isa: Isa) -> bool {
    isa == Isa::Portable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        for isa in Isa::ALL {
            assert_eq!(isa.name().parse(), Ok(isa));
        }
        let error = "AVX9".parse::<Isa>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown instruction set 'AVX9' in PARALLAX_ISA: portable, avx2, avx512 or amx"
        );
    }

    #[test]
    fn what_runs_is_a_chain_from_the_plainest() {
        let all: Vec<Isa> = available().collect();
        assert_eq!(all, Isa::ALL[..all.len()]);
        assert_eq!(all.last(), Some(&current()));
        assert!(current() <= requested().unwrap().unwrap_or(Isa::Amx));
    }
}
