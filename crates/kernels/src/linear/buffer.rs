//! Memory that starts on a cache line.

use std::cell::Cell;

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Bytes that start on a cache line; zero where nothing was written.
#[derive(Clone, Default)]
pub(super) struct Buffer {
    lines: Vec<Line>,
}

/// A number type of which every bit pattern is a value.
pub(super) trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for i8 {}
impl Plain for u16 {}
impl Plain for i16 {}
impl Plain for i32 {}
impl Plain for f32 {}

impl Buffer {
    pub(super) fn zeroed<T: Plain>(len: usize) -> Self {
        Self { lines: vec![Line([0; 64]); (len * size_of::<T>()).div_ceil(64)] }
    }

    /// At least `len` numbers, with whatever was left in them.
    pub(super) fn at_least<T: Plain>(&mut self, len: usize) -> &mut [T] {
        let lines = (len * size_of::<T>()).div_ceil(64);
        if self.lines.len() < lines {
            self.lines.resize(lines, Line([0; 64]));
        }
        self.slice_mut()
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * 64
    }

    pub(super) fn slice<T: Plain>(&self) -> &[T] {
        // SAFETY: lines are plain initialised bytes, aligned for every `Plain` type, whose sizes divide 64.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.bytes() / size_of::<T>()) }
    }

    pub(super) fn slice_mut<T: Plain>(&mut self) -> &mut [T] {
        let len = self.bytes() / size_of::<T>();
        // SAFETY: as in `slice`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), len) }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes())
    }
}

/// Runs `f` with a buffer that the thread keeps, because fresh memory of this size costs a page fault every 4 KiB.
///
/// A call inside a call gets a buffer of its own.
pub(super) fn with_scratch<R>(f: impl FnOnce(&mut Buffer) -> R) -> R {
    thread_local! {
        static SCRATCH: Cell<Buffer> = Cell::default();
    }
    SCRATCH.with(|kept| {
        let mut buffer = kept.take();
        let result = f(&mut buffer);
        kept.set(buffer);
        result
    })
}
