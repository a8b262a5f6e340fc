use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};

use super::{bytes, made, write_labels, write_vectors};
use crate::{Error, Result};

/// Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 28 × 28 grey pixels from 0 to 1, training and test files one after another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FashionMnist {
    /// The first so many pictures of each class; all where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<usize>,
}

/// Where the Debian package puts them, beside `PARALLAX_DATA/fashion-mnist`.
const DEBIAN: &str = "/usr/share/datasets/fashion-mnist";

impl FashionMnist {
    pub(super) fn open(&self, tell: &mut dyn FnMut(&str)) -> Result<PathBuf> {
        let own = std::env::var_os("PARALLAX_DATA").map(|root| Path::new(&root).join("fashion-mnist"));
        let folder = own.filter(|folder| folder.is_dir()).unwrap_or_else(|| DEBIAN.into());
        if !folder.is_dir() {
            return Err(Error::Source {
                path: folder,
                what: "it is not there".into(),
                hint: "install Debian's dataset-fashion-mnist, or put the four .gz files of \
                       github.com/zalandoresearch/fashion-mnist into PARALLAX_DATA/fashion-mnist"
                    .into(),
            });
        }
        let part = |name: &str| -> Result<(PathBuf, Vec<u8>)> {
            let path = folder.join(name);
            let mut plain = Vec::new();
            let packed = bytes(&path)?;
            GzDecoder::new(&packed[..]).read_to_end(&mut plain).map_err(Error::io(&path, "unpack"))?;
            Ok((path, plain))
        };
        let mut parts = Vec::new();
        for name in ["train", "t10k"] {
            parts.push((
                part(&format!("{name}-images-idx3-ubyte.gz"))?,
                part(&format!("{name}-labels-idx1-ubyte.gz"))?,
            ));
        }
        let mut of = vec![format!("{:?}", self.each).into_bytes()];
        parts.iter().for_each(|(images, labels)| of.extend([images.1.clone(), labels.1.clone()]));
        let of: Vec<&[u8]> = of.iter().map(Vec::as_slice).collect();
        made("fashion-mnist", &of, |folder| {
            tell("reading pictures");
            let (mut values, mut labels) = (Vec::new(), Vec::new());
            let mut counts = [0usize; 256];
            for (images, classes) in &parts {
                let (pixels, per) = idx(&images.0, &images.1)?;
                let (names, _) = idx(&classes.0, &classes.1)?;
                if pixels.len() != names.len() * per {
                    return Err(bad(&images.0, "it holds another number of pictures than there are classes"));
                }
                for (picture, &name) in pixels.chunks_exact(per).zip(names) {
                    counts[usize::from(name)] += 1;
                    if self.each.is_none_or(|each| counts[usize::from(name)] <= each) {
                        values.extend(picture.iter().map(|&pixel| f32::from(pixel) / 255.0));
                        labels.push(i64::from(name));
                    }
                }
            }
            write_vectors(&folder.join("vectors.npy"), &values, values.len() / labels.len().max(1))?;
            write_labels(&folder.join("labels.npy"), &labels)
        })
    }
}

fn bad(path: &Path, what: &str) -> Error {
    Error::Source { path: path.to_owned(), what: what.into(), hint: "fetch it again".into() }
}

/// The bytes of an IDX file of unsigned bytes, and how many make one item.
fn idx<'a>(path: &Path, file: &'a [u8]) -> Result<(&'a [u8], usize)> {
    let (&[0, 0, 8, rank], rest) = file.split_first_chunk::<4>().ok_or_else(|| bad(path, "it is cut off"))?
    else {
        return Err(bad(path, "it is no IDX file of bytes"));
    };
    let rank = usize::from(rank);
    let (head, body) = rest.split_at_checked(4 * rank).ok_or_else(|| bad(path, "it is cut off"))?;
    let sizes: Vec<usize> =
        head.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    let per = sizes.iter().skip(1).try_fold(1usize, |product, &size| product.checked_mul(size));
    let all = per.and_then(|per| sizes.first().and_then(|&items| items.checked_mul(per)));
    match (per, all) {
        (Some(per), Some(all)) if per > 0 && all == body.len() => Ok((body, per)),
        _ => Err(bad(path, "its sizes do not fit its length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idx_files_are_read_and_cut_ones_refused() {
        let path = Path::new("x");
        let mut file = vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3];
        file.extend([1, 2, 3, 4, 5, 6]);
        assert_eq!(idx(path, &file).unwrap(), (&[1, 2, 3, 4, 5, 6][..], 3));
        for bad in [&file[..3], &file[..10], &file[..20], &[1, 2, 3, 4, 5][..], &[0, 0, 8, 255][..]] {
            assert!(idx(path, bad).is_err());
        }
        file[4] = 255;
        assert!(idx(path, &file).is_err());
    }
}
