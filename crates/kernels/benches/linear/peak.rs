//! What one thread can do with operands in registers, and how time is taken.

use super::{Isa, Precision};
use std::fmt;
use std::time::{Duration, Instant};

/// Operations a second in 10⁹, of one thread.
pub(crate) struct Peaks {
    fma: f64,
    bf16: Option<f64>,
    int8: Option<f64>,
}

impl Peaks {
    pub(crate) fn measure() -> Self {
        let tiles = super::isa::current() == Isa::Amx;
        Self { fma: fma(), bf16: tiles.then(tile_bf16), int8: tiles.then(tile_int8) }
    }

    /// The peak of the instructions that a precision uses. `Split` does three products for one.
    pub(crate) fn of(&self, isa: Isa, precision: Precision) -> f64 {
        match (precision, self.bf16, self.int8) {
            (Precision::Bf16, Some(peak), _) | (Precision::Int8, _, Some(peak)) => peak,
            (Precision::Split, Some(peak), _) => peak / 3.0,
            // VNNI adds four products where an FMA adds one; AVX2 two.
            (Precision::Int8, _, None) if isa == Isa::Avx512 => 4.0 * self.fma,
            (Precision::Int8, _, None) if isa == Isa::Avx2 => self.fma,
            _ => self.fma,
        }
    }

    pub(crate) fn json(&self) -> String {
        let number = |v: Option<f64>| v.map_or("null".to_owned(), |v| format!("{v:.1}"));
        format!(
            "{{\"fma\": {:.1}, \"bf16\": {}, \"int8\": {}}}",
            self.fma,
            number(self.bf16),
            number(self.int8)
        )
    }
}

impl fmt::Display for Peaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "f32 FMA {:.0}", self.fma)?;
        if let (Some(bf16), Some(int8)) = (self.bf16, self.int8) {
            write!(f, ", bf16 tiles {bf16:.0}, int8 tiles {int8:.0}")?;
        }
        Ok(())
    }
}

/// Seconds of the best of several runs: processor time of the thread for one, wall time for more.
pub(crate) fn best(pool: &rayon::ThreadPool, mut work: impl FnMut() + Send) -> f64 {
    let one = pool.current_num_threads() == 1;
    pool.install(|| {
        work();
        let mut best = Duration::MAX;
        let begun = Instant::now();
        let mut runs = 0;
        while runs < 5 || (begun.elapsed() < Duration::from_millis(300) && runs < 2000) {
            let (wall, processor) = (Instant::now(), processor_time());
            work();
            best = best.min(if one { processor_time() - processor } else { wall.elapsed() });
            runs += 1;
        }
        best.as_secs_f64()
    })
}

/// Processor time of this thread.
#[cfg(unix)]
fn processor_time() -> Duration {
    #[repr(C)]
    struct Time {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, to: *mut Time) -> i32;
    }
    const THREAD: i32 = if cfg!(target_os = "macos") { 16 } else { 3 };
    let mut time = Time { seconds: 0, nanoseconds: 0 };
    // SAFETY: the structure is what 64-bit systems write.
    unsafe { clock_gettime(THREAD, &raw mut time) };
    Duration::new(time.seconds as u64, time.nanoseconds as u32)
}

#[cfg(not(unix))]
fn processor_time() -> Duration {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

fn rate(operations: f64, mut work: impl FnMut()) -> f64 {
    let mut best = 0.0f64;
    for _ in 0..20 {
        let start = processor_time();
        work();
        best = best.max(operations / (processor_time() - start).as_secs_f64() / 1e9);
    }
    best
}

const STEPS: usize = 400_000;

#[cfg(target_arch = "x86_64")]
fn fma() -> f64 {
    use std::arch::x86_64::*;
    use std::hint::black_box;
    #[target_feature(enable = "avx512f")]
    fn wide() {
        let (a, b) = (black_box(_mm512_set1_ps(0.999)), black_box(_mm512_set1_ps(0.001)));
        let mut sums = [_mm512_set1_ps(1.0); 24];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
    }
    #[target_feature(enable = "avx2,fma")]
    fn middle() {
        let (a, b) = (black_box(_mm256_set1_ps(0.999)), black_box(_mm256_set1_ps(0.001)));
        let mut sums = [_mm256_set1_ps(1.0); 12];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
    }
    match super::isa::current() {
        // SAFETY: the instruction set was found.
        Isa::Avx512 | Isa::Amx => rate((STEPS * 24 * 32) as f64, || unsafe { wide() }),
        // SAFETY: the instruction set was found.
        Isa::Avx2 => rate((STEPS * 12 * 16) as f64, || unsafe { middle() }),
        Isa::Portable => plain(),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn fma() -> f64 {
    plain()
}

/// Multiplications and additions of lanes that the compiler may put in registers.
fn plain() -> f64 {
    use std::hint::black_box;
    rate((STEPS * 32 * 2) as f64, || {
        let (a, b) = (black_box([0.999f32; 4]), black_box([0.001f32; 4]));
        let mut sums = [[1.0f32; 4]; 8];
        for _ in 0..STEPS {
            for sum in &mut sums {
                for lane in 0..4 {
                    sum[lane] = sum[lane] * a[lane] + b[lane];
                }
            }
        }
        black_box(sums);
    })
}

macro_rules! tiles {
    ($name:ident, $instruction:literal, $depth:literal) => {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        fn $name() -> f64 {
            #[repr(align(64))]
            struct Configuration([u8; 64]);
            let mut configuration = Configuration([0; 64]);
            configuration.0[0] = 1;
            for tile in 0..8 {
                configuration.0[16 + 2 * tile] = 64;
                configuration.0[48 + tile] = 16;
            }
            rate((STEPS * 4 * 2 * 16 * 16 * $depth) as f64, || {
                // SAFETY: called where tiles were found and allowed; the registers are released at the end.
                unsafe {
                    std::arch::asm!(
                        "ldtilecfg [{configuration}]",
                        "2:",
                        concat!($instruction, " tmm0, tmm4, tmm6"),
                        concat!($instruction, " tmm1, tmm4, tmm7"),
                        concat!($instruction, " tmm2, tmm5, tmm6"),
                        concat!($instruction, " tmm3, tmm5, tmm7"),
                        "dec {n}",
                        "jnz 2b",
                        "tilerelease",
                        configuration = in(reg) &configuration,
                        n = inout(reg) STEPS => _,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        options(nostack),
                    );
                }
            })
        }
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        fn $name() -> f64 {
            f64::NAN
        }
    };
}
tiles!(tile_bf16, "tdpbf16ps", 32);
tiles!(tile_int8, "tdpbssd", 64);
