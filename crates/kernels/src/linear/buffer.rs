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
pub(super) trait Plain: Copy + Send + Sync {}
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
    fn at_least<T: Plain>(&mut self, len: usize) -> &mut [T] {
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

thread_local! {
    static KEPT: Cell<Buffer> = Cell::default();
}

/// A buffer that the thread keeps, because fresh memory of this size costs a page fault every 4 KiB. A second one at the
/// same time is a buffer of its own.
pub(super) struct Scratch(Buffer);

impl Scratch {
    pub(super) fn take() -> Self {
        Self(KEPT.take())
    }

    /// At least `len` numbers, with whatever was left in them.
    pub(super) fn at_least<T: Plain>(&mut self, len: usize) -> &mut [T] {
        self.0.at_least(len)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        KEPT.set(std::mem::take(&mut self.0));
    }
}
