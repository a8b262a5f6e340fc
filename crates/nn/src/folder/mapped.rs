//! Numbers that stay in their file until somebody changes them.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use burn::tensor::Bytes;
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty};
use memmap2::Mmap;

/// The bytes of f32 numbers in a mapped file as the tensor engine takes them, without a copy: pages are read when they are
/// used, and are shared with other processes that map the same file. What changes them gets a copy of its own first.
///
/// `None` where they cannot be used as they stand: a machine with another order of bytes, or an offset that is not a
/// multiple of 4.
///
/// # Panics
/// If the range is not inside the map, or not whole numbers.
pub(super) fn floats(map: &Arc<Mmap>, range: Range<usize>) -> Option<Bytes> {
    assert!(range.end <= map.len() && range.len().is_multiple_of(4), "{range:?} of {} bytes", map.len());
    let aligned = map[range.clone()].as_ptr().cast::<f32>().is_aligned();
    if cfg!(target_endian = "big") || !aligned {
        return None;
    }
    let length = range.len();
    let controller = Mapped { map: map.clone(), range, own: None };
    // SAFETY: the controller's memory is `length` bytes, all of them initialised, before and after a copy.
    Some(unsafe { Bytes::from_controller(Box::new(controller), length) })
}

/// A range of a map, or the copy that took its place.
struct Mapped {
    map: Arc<Mmap>,
    range: Range<usize>,
    own: Option<Box<[f32]>>,
}

impl Mapped {
    fn own(&mut self) -> &mut Box<[f32]> {
        let Mapped { map, range, own } = self;
        own.get_or_insert_with(|| {
            let numbers = map[range.clone()].chunks_exact(4);
            numbers.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        })
    }
}

impl AllocationController for Mapped {
    fn alloc_align(&self) -> usize {
        // That of the copy that `try_detach` hands out.
        align_of::<f32>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::File
    }

    fn capacity(&self) -> usize {
        self.range.len()
    }

    unsafe fn memory_mut(&mut self, policy: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        if self.own.is_none() && !policy.copy_allowed() {
            return Err(AccessError::WouldCopy);
        }
        let own = self.own();
        // SAFETY: any number is valid as bytes, bytes need no alignment, and the length is that of the numbers. The caller
        // promises to write initialised bytes only, and every four bytes are a valid f32.
        Ok(unsafe { std::slice::from_raw_parts_mut(own.as_mut_ptr().cast(), own.len() * size_of::<f32>()) })
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let bytes = match &self.own {
            None => &self.map[self.range.clone()],
            // SAFETY: any number is valid as bytes, and the length is that of the numbers.
            Some(own) => unsafe {
                std::slice::from_raw_parts(own.as_ptr().cast(), own.len() * size_of::<f32>())
            },
        };
        // SAFETY: initialised bytes are valid as bytes that may not be, and are only read.
        Ok(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) })
    }

    fn duplicate(&self) -> Option<Box<dyn AllocationController>> {
        let Mapped { map, range, own } = self;
        let fresh = own.is_none();
        fresh.then(|| Box::new(Mapped { map: map.clone(), range: range.clone(), own: None }) as _)
    }

    fn try_detach(&mut self) -> Option<NonNull<u8>> {
        self.own();
        // A boxed slice has no room beyond its numbers, so its allocation is that of a vector with this capacity.
        let numbers = Box::into_raw(self.own.take()?);
        NonNull::new(numbers.cast())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use burn::tensor::{DType, Tensor, TensorData};

    use super::*;

    fn mapped(numbers: &[f32], before: usize) -> Arc<Mmap> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; before]).unwrap();
        numbers.iter().for_each(|n| file.write_all(&n.to_le_bytes()).unwrap());
        // SAFETY: nobody else knows the file.
        Arc::new(unsafe { Mmap::map(&file) }.unwrap())
    }

    #[test]
    fn numbers_are_read_in_place_and_changed_in_a_copy() {
        let numbers = [1.5f32, -2.0, f32::MIN_POSITIVE, 4e30];
        let map = mapped(&numbers, 8);
        let mut bytes = floats(&map, 8..24).unwrap();
        assert_eq!(bytes.as_ptr(), map[8..].as_ptr());
        let other = bytes.clone();
        assert_eq!(other.as_ptr(), map[8..].as_ptr());
        bytes[..4].copy_from_slice(&9f32.to_le_bytes());
        assert_ne!(bytes.as_ptr(), map[8..].as_ptr());
        assert_eq!(bytes.clone().try_into_vec::<f32>().unwrap(), [9.0, -2.0, f32::MIN_POSITIVE, 4e30]);
        assert_eq!(bytes.try_into_vec::<f32>().unwrap()[0], 9.0);
        assert_eq!(other.try_into_vec::<f32>().unwrap(), numbers);
        assert_eq!(map[8..12], 1.5f32.to_le_bytes());
    }

    #[test]
    fn an_odd_offset_is_refused() {
        assert!(floats(&mapped(&[1.0, 2.0], 3), 3..11).is_none());
    }

    #[test]
    fn tensors_compute_with_them() {
        let map = mapped(&[1.0, 2.0, 3.0, 4.0], 0);
        let data = TensorData::from_bytes(floats(&map, 0..16).unwrap(), [2, 2], DType::F32);
        let x = Tensor::<2>::from_data(data, &crate::cpu());
        let y = (x.clone() * 2.0 + x.clone()).into_data();
        assert_eq!(y.as_slice::<f32>().unwrap(), [3.0, 6.0, 9.0, 12.0]);
        assert_eq!(
            x.matmul(Tensor::eye(2, &crate::cpu())).into_data().as_slice::<f32>().unwrap(),
            [1.0, 2.0, 3.0, 4.0]
        );
        assert_eq!(map[..4], 1f32.to_le_bytes());
    }
}
