use std::marker::PhantomData;

/// Rows of heads side by side, which may be a part of wider rows.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    data: &'a [f32],
    offset: usize,
    stride: usize,
}

impl<'a> Rows<'a> {
    /// Row i begins at `offset + i · stride`.
    pub fn new(data: &'a [f32], offset: usize, stride: usize) -> Self {
        Rows { data, offset, stride }
    }

    /// A matrix `[N, width]` of its own.
    pub fn whole(data: &'a [f32], width: usize) -> Self {
        Rows::new(data, 0, width)
    }

    /// q, k and v of a fused matrix `[N, 3 · width]`.
    pub fn thirds(data: &'a [f32], width: usize) -> [Self; 3] {
        std::array::from_fn(|part| Rows::new(data, part * width, 3 * width))
    }

    /// Panics unless `rows` rows of `width` values are inside.
    pub(super) fn check(&self, rows: usize, width: usize) {
        assert!(
            self.stride >= width
                && (rows == 0 || self.offset + (rows - 1) * self.stride + width <= self.data.len()),
            "{rows} rows of {width} values at {} + i · {} in a slice of {}",
            self.offset,
            self.stride,
            self.data.len()
        );
    }

    /// Where a value of a row stands; inside the slice if [`Self::check`] has passed for the row.
    pub(super) fn at(&self, row: usize, column: usize) -> *const f32 {
        self.data.as_ptr().wrapping_add(self.offset + row * self.stride + column)
    }

    pub(super) fn stride(&self) -> usize {
        self.stride
    }
}

/// Rows to be written; see [`Rows`].
#[derive(Debug)]
pub struct RowsMut<'a> {
    start: *mut f32,
    /// Values from `start` to the end of the slice.
    len: usize,
    stride: usize,
    width: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: the rows are borrowed exclusively, and the constructors make parts that do not overlap.
unsafe impl Send for RowsMut<'_> {}
// SAFETY: shared access gives raw pointers only; what writes through them promises disjoint parts.
unsafe impl Sync for RowsMut<'_> {}

impl<'a> RowsMut<'a> {
    /// A matrix `[N, width]` of its own.
    pub fn whole(data: &'a mut [f32], width: usize) -> Self {
        RowsMut { start: data.as_mut_ptr(), len: data.len(), stride: width, width, slice: PhantomData }
    }

    /// The gradients by q, k and v of a fused matrix `[N, 3 · width]`.
    ///
    /// # Panics
    /// If the slice does not hold whole rows.
    pub fn thirds(data: &'a mut [f32], width: usize) -> [Self; 3] {
        assert!(width > 0 && data.len().is_multiple_of(3 * width), "rows of 3 · {width} values");
        let (start, len) = (data.as_mut_ptr(), data.len());
        std::array::from_fn(|part| RowsMut {
            start: start.wrapping_add(part * width),
            len: len.saturating_sub(part * width),
            stride: 3 * width,
            width,
            slice: PhantomData,
        })
    }

    /// Panics unless `rows` rows of `width` values are inside.
    pub(super) fn check(&self, rows: usize, width: usize) {
        assert!(
            self.width == width && (rows == 0 || (rows - 1) * self.stride + width <= self.len),
            "{rows} rows of {width} values in rows of {}",
            self.width
        );
    }

    /// Where a value of a row stands; inside the slice if [`Self::check`] has passed for the row.
    pub(super) fn at(&self, row: usize, column: usize) -> *mut f32 {
        self.start.wrapping_add(row * self.stride + column)
    }

    pub(super) fn stride(&self) -> usize {
        self.stride
    }
}
