//! Contiguous f32 values in the tensors of the CPU backend, and buffers used again.

use std::cell::RefCell;

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};

/// A dense f32 tensor.
#[derive(Clone, Debug)]
pub(super) struct Array(FlexTensor);

impl From<FlexTensor> for Array {
    fn from(x: FlexTensor) -> Self {
        Array(if x.is_contiguous() { x } else { x.to_contiguous() })
    }
}

impl From<Array> for FlexTensor {
    fn from(x: Array) -> Self {
        x.0
    }
}

impl Array {
    /// Takes over `values`.
    ///
    /// # Panics
    /// If they are not as many as the shape says.
    pub(super) fn new<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Self {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "values of {shape:?}");
        Array(FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(Shape::from(shape)), DType::F32))
    }

    pub(super) fn shape(&self) -> &[usize] {
        self.0.layout().shape()
    }

    /// (rows, width): all dimensions but the last, and the last.
    pub(super) fn dims(&self) -> (usize, usize) {
        let shape = self.shape();
        let width = shape.last().copied().unwrap_or(1);
        (shape.iter().product::<usize>() / width.max(1), width)
    }

    pub(super) fn values(&self) -> &[f32] {
        self.0.as_slice().expect("contiguous and f32")
    }

    /// Whether both are the same tensor in memory.
    pub(super) fn same(&self, other: &Array) -> bool {
        std::sync::Arc::ptr_eq(&self.0.data_arc(), &other.0.data_arc())
            && self.0.layout().start_offset() == other.0.layout().start_offset()
            && self.shape() == other.shape()
    }

    /// The values to be written over: the tensor's own where nothing else holds them, else a copy.
    pub(super) fn into_values(self) -> Vec<f32> {
        if !self.owned() {
            let mut copy = take(self.values().len());
            copy.copy_from_slice(self.values());
            return copy;
        }
        match self.0.into_data().into_parts().0.try_into_vec() {
            Ok(values) => values,
            // Not on the heap, or aligned in another way.
            Err(bytes) => bytemuck::cast_slice(&bytes).to_vec(),
        }
    }

    /// Leaves the memory for the next [`take`], where nothing else holds it.
    pub(super) fn give(self) {
        if self.owned()
            && let Ok(values) = self.0.into_data().into_parts().0.try_into_vec()
        {
            give(values);
        }
    }

    /// Whether nothing else holds the memory, and all of it is this tensor's.
    fn owned(&self) -> bool {
        self.0.is_unique() && self.0.bytes().len() == size_of_val(self.values())
    }
}

/// Values below which memory is not worth keeping.
const SMALL: usize = 1 << 12;
/// Values that one thread keeps at most: 512 MiB.
const KEPT: usize = 1 << 27;

thread_local! {
    /// What [`give`] left, in ascending order of size. Fresh memory costs a page fault for every 4 KiB, which is as much as
    /// the arithmetic of a small layer.
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// `len` values of any content.
pub(super) fn take(len: usize) -> Vec<f32> {
    if len >= SMALL {
        let found = FREE.with_borrow_mut(|free| {
            let at = free.partition_point(|buffer| buffer.len() < len);
            // One that is far too large is left for what needs it.
            free.get(at).is_some_and(|buffer| buffer.len() <= 2 * len).then(|| free.remove(at))
        });
        if let Some(mut buffer) = found {
            buffer.truncate(len);
            return buffer;
        }
    }
    vec![0.0; len]
}

/// Leaves a buffer for the next [`take`] on this thread.
pub(super) fn give(mut buffer: Vec<f32>) {
    let capacity = buffer.capacity();
    if capacity < SMALL {
        return;
    }
    // Cheap: what `take` cut off is at most half.
    buffer.resize(capacity, 0.0);
    FREE.with_borrow_mut(|free| {
        let held: usize = free.iter().map(Vec::len).sum();
        if held + capacity <= KEPT {
            let at = free.partition_point(|other| other.len() < capacity);
            free.insert(at, buffer);
        }
    });
}
