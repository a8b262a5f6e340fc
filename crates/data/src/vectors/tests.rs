use std::path::{Path, PathBuf};

use half::f16;
use proptest::prelude::*;

use super::{Header, NpyIntegers, NpyWriter, Vectors};

fn write(folder: &Path, name: &str, descr: &str, shape: &str, values: &[u8]) -> PathBuf {
    let literal = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((literal.len() as u16).to_le_bytes());
    file.extend(literal.bytes());
    file.extend(values);
    let path = folder.join(name);
    std::fs::write(&path, file).unwrap();
    path
}

#[test]
fn three_widths_read_as_f32() {
    let folder = tempfile::tempdir().unwrap();
    let values = [1.0f32, -0.5, 3.25, 1024.0, 0.0, -7.0];
    let half: Vec<u8> = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
    let single: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let double: Vec<u8> = values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
    for (name, descr, bytes) in [("h", "<f2", half), ("s", "<f4", single), ("d", "<f8", double)] {
        let vectors = Vectors::open(write(folder.path(), name, descr, "(2, 3)", &bytes)).unwrap();
        assert_eq!((vectors.rows(), vectors.dim()), (2, 3));
        assert_eq!(vectors.to_vec(), values);
        assert_eq!(vectors.row(1), values[3..]);
        let mut some = [0.0; 9];
        vectors.read_rows(&[1, 0, 1], &mut some);
        assert_eq!(some[..3], values[3..]);
        assert_eq!(some[3..6], values[..3]);
        vectors.check_finite().unwrap();
    }
}

#[test]
fn the_writer_streams_and_renames() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let mut writer = NpyWriter::create(&path, 2).unwrap();
    writer.push_rows(&[1.0, 2.0, 3.0, 4.0]).unwrap();
    writer.push_rows(&[]).unwrap();
    writer.push_rows(&[5.0, 6.0]).unwrap();
    assert!(writer.push_rows(&[7.0]).is_err());
    assert!(!path.exists());
    writer.finish().unwrap();
    let vectors = Vectors::open(&path).unwrap();
    assert_eq!((vectors.rows(), vectors.dim()), (3, 2));
    assert_eq!(vectors.to_vec(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    // The header is a multiple of 64 bytes, so the map is aligned and needs no copy.
    assert_eq!(vectors.as_slice().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);

    let mut abandoned = NpyWriter::create(&path, 5).unwrap();
    abandoned.push_rows(&[0.0; 5]).unwrap();
    drop(abandoned);
    assert_eq!(Vectors::open(&path).unwrap().dim(), 2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(NpyWriter::create(&path, 0).is_err());
}

#[test]
fn what_is_not_finite_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> =
        [0.0, 1.0, 2.0, f64::NAN, 1e300, 0.0].iter().flat_map(|v: &f64| v.to_le_bytes()).collect();
    let vectors = Vectors::open(write(folder.path(), "bad.npy", "<f8", "(3, 2)", &bytes)).unwrap();
    let error = vectors.check_finite().unwrap_err().to_string();
    assert!(error.ends_with("bad.npy: row 1, column 1 (counted from 0) is NaN"), "{error}");
    let vectors = Vectors::from_memory("memory", 1, 2, vec![0.0, f32::NEG_INFINITY]).unwrap();
    assert!(vectors.check_finite().unwrap_err().to_string().contains("row 0, column 1"));
    assert!(Vectors::from_memory("memory", 2, 2, vec![0.0; 3]).is_err());
}

#[test]
fn shapes_and_types_that_are_no_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let refused = |descr, shape, bytes, words: &str| {
        let error = Vectors::open(write(folder, "bad.npy", descr, shape, &vec![0; bytes])).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("bad.npy") && error.contains(words), "{error}");
    };
    refused("<f4", "(6,)", 24, "expected two dimensions");
    refused("<f4", "(0, 3)", 0, "nothing in it");
    refused("<i8", "(1, 3)", 24, "holds int64");
    refused("<f4", "(2, 3)", 20, "truncated");
    std::fs::write(folder.join("empty.npy"), b"").unwrap();
    assert!(Vectors::open(folder.join("empty.npy")).is_err());
    assert!(Vectors::open(folder.join("absent.npy")).is_err());
    assert!(Vectors::open(folder).is_err());
}

#[test]
fn labels_of_every_integer_type() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let read = |descr, bytes: &[u8]| {
        NpyIntegers::open(write(folder, "y.npy", descr, "(2,)", bytes)).map(|integers| integers.values)
    };
    assert_eq!(read("|i1", &[0xff, 2]).unwrap(), [-1, 2]);
    assert_eq!(read("|u1", &[0xff, 2]).unwrap(), [255, 2]);
    assert_eq!(read("|b1", &[1, 0]).unwrap(), [1, 0]);
    assert_eq!(read("<i2", &[0xfe, 0xff, 1, 1]).unwrap(), [-2, 257]);
    assert_eq!(read("<u2", &[0xfe, 0xff, 1, 1]).unwrap(), [65534, 257]);
    assert_eq!(read("<i4", &[(-3i32).to_le_bytes(), 9i32.to_le_bytes()].concat()).unwrap(), [-3, 9]);
    assert_eq!(read("<u4", &[u32::MAX.to_le_bytes(), [0; 4]].concat()).unwrap(), [4_294_967_295, 0]);
    assert_eq!(read("<i8", &[i64::MIN.to_le_bytes(), 5i64.to_le_bytes()].concat()).unwrap(), [i64::MIN, 5]);
    assert_eq!(read("<u8", &[7u64.to_le_bytes(), 5u64.to_le_bytes()].concat()).unwrap(), [7, 5]);
    assert!(read("<u8", &[7u64.to_le_bytes(), u64::MAX.to_le_bytes()].concat()).is_err());
    assert!(read("<f4", &[0; 8]).unwrap_err().to_string().contains("float32"));
    let error = NpyIntegers::open(write(folder, "y.npy", "<i4", "(2, 2)", &[0; 16])).unwrap_err();
    assert!(error.to_string().contains("one dimension"));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        version in 0u8..5,
        literal in "\\{?('descr': ?('<f4'|\\[\\]|\\[\\(|'>i8'|\"x)|'shape': ?\\(-?[0-9L, ]{0,30}\\)?|'fortran_order': ?(True|False|1)|, ?|\\}|[ -~é]){0,6}",
    ) {
        let _ = Header::parse(&bytes);
        let mut file = b"\x93NUMPY".to_vec();
        file.extend([version, 0]);
        if version == 1 {
            file.extend((literal.len() as u16).to_le_bytes());
        } else {
            file.extend((literal.len() as u32).to_le_bytes());
        }
        file.extend(literal.bytes());
        file.extend(&bytes);
        let _ = Header::parse(&file);
        file.truncate(bytes.len());
        let _ = Header::parse(&file);
    }

    #[test]
    fn a_valid_file_with_one_byte_changed_never_panics(place in 0usize..152, byte in any::<u8>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let mut writer = NpyWriter::create(&path, 3).unwrap();
        writer.push_rows(&[1.0; 6]).unwrap();
        writer.finish().unwrap();
        let mut file = std::fs::read(&path).unwrap();
        prop_assert_eq!(file.len(), 152);
        file[place] = byte;
        std::fs::write(&path, file).unwrap();
        if let Ok(vectors) = Vectors::open(&path) {
            prop_assert_eq!(vectors.to_vec().len(), vectors.rows() * vectors.dim());
        }
        let _ = NpyIntegers::open(&path);
    }

    #[test]
    fn what_is_pushed_is_read(dim in 1usize..6, rows in proptest::collection::vec(any::<u32>(), 0..40)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let values: Vec<f32> = rows.iter().map(|&bits| f32::from_bits(bits)).collect();
        let values = &values[..values.len() / dim * dim];
        let mut writer = NpyWriter::create(&path, dim).unwrap();
        for row in values.chunks(dim) {
            writer.push_rows(row).unwrap();
        }
        writer.finish().unwrap();
        match Vectors::open(&path) {
            Ok(vectors) => {
                let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&vectors.to_vec()), bits(values));
            }
            Err(_) => prop_assert!(values.is_empty()),
        }
    }
}
