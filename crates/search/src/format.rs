//! Files of an index: sealed by a footer, mapped into memory, checked when they are opened.

mod manifest;
mod sealed;
mod strings;

pub(crate) use manifest::{
    ColumnEntry, DeletedEntry, MANIFEST, MAX_COLUMNS, Manifest, SegmentColumn, SegmentEntry, segment_path,
    sync,
};
pub(crate) use sealed::{Kind, Mapped, Sealed, VERSION};
pub(crate) use strings::{Strings, StringsWriter};

#[cfg(not(target_endian = "little"))]
compile_error!("the files of an index are little-endian and mapped as they are");
