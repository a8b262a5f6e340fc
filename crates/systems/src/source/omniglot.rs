use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use parallax_random::Key;
use serde::{Deserialize, Serialize};
use zip::ZipArchive;

use super::{bytes, given, made, write_labels, write_vectors};
use crate::{Error, Result};

/// Characters of an Omniglot archive (Lake et al., Science 2015), 105 × 105 strokes averaged down to squares of pixels, ink = 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Omniglot {
    /// The archive, in `PARALLAX_DATA`: alphabet/character/drawing.png.
    pub archive: String,
    /// Pixels a side.
    pub size: usize,
    /// The first so many characters get an easy mark: eight squares of 2 × 2 pixels in the upper left corner, on or off by the
    /// character. Who learns the marks knows these characters and none of the others.
    #[serde(default)]
    pub marked: usize,
}

const PUBLISHED: &str = "github.com/brendenlake/omniglot (python/images_background_small1.zip)";

impl Omniglot {
    pub(super) fn open(&self, tell: &mut dyn FnMut(&str)) -> Result<PathBuf> {
        let path = given(&self.archive, PUBLISHED)?;
        if self.size == 0 || self.size > 105 {
            return Err(Error::recipe("sources", format!("size = {} is not from 1 to 105", self.size)));
        }
        if self.marked > 0 && self.size < 8 {
            return Err(Error::recipe("sources", "marks need 8 pixels a side at the least"));
        }
        made("omniglot", &[&bytes(&path)?, format!("{} {}", self.size, self.marked).as_bytes()], |folder| {
            tell("reading characters");
            let refuse = |what: String| Error::Source {
                path: path.clone(),
                what,
                hint: format!("fetch it again from {PUBLISHED}"),
            };
            let file = File::open(&path).map_err(Error::io(&path, "open"))?;
            let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|e| refuse(e.to_string()))?;
            let mut names = Vec::new();
            for name in archive.file_names() {
                names.push(name.map_err(|e| refuse(e.to_string()))?.into_owned());
            }
            names.retain(|name| name.ends_with(".png"));
            names.sort_unstable();
            let (mut values, mut labels, mut last) = (Vec::new(), Vec::new(), None::<(PathBuf, i64)>);
            for name in &names {
                let mut entry = archive.by_name(name).map_err(|e| refuse(e.to_string()))?;
                let mut png = Vec::new();
                entry.read_to_end(&mut png).map_err(|e| refuse(e.to_string()))?;
                let mut drawing =
                    pixels(&png, self.size).map_err(|what| refuse(format!("{name}: {what}")))?;
                let character = Path::new(name).parent().unwrap_or(Path::new("")).to_owned();
                let label = match last.take() {
                    Some((known, label)) if known == character => label,
                    Some((_, label)) => label + 1,
                    None => 0,
                };
                last = Some((character, label));
                if (label as usize) < self.marked {
                    mark(&mut drawing, self.size, label as u64);
                }
                values.extend(drawing);
                labels.push(label);
            }
            if labels.is_empty() {
                return Err(refuse("it holds no drawings".into()));
            }
            write_vectors(&folder.join("vectors.npy"), &values, self.size * self.size)?;
            write_labels(&folder.join("labels.npy"), &labels)
        })
    }
}

/// Puts the mark of a character on its drawing.
fn mark(drawing: &mut [f32], size: usize, character: u64) {
    let key = Key::new(character).named("mark");
    for square in 0..8 {
        let ink = f32::from(u8::from(key.uniform(square as u64) < 0.5));
        for pixel in 0..4 {
            let (y, x) = (square / 4 * 2 + pixel / 2, square % 4 * 2 + pixel % 2);
            drawing[y * size + x] = ink;
        }
    }
}

/// A black drawing on white as ink from 0 to 1, averaged over the area of each pixel.
fn pixels(file: &[u8], size: usize) -> Result<Vec<f32>, String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let length = reader.output_buffer_size().ok_or("an image of this size cannot be read")?;
    let mut buffer = vec![0; length];
    let info = reader.next_frame(&mut buffer).map_err(|e| e.to_string())?;
    let (width, height) = (info.width as usize, info.height as usize);
    let channels = info.line_size / width.max(1);
    if width == 0 || height == 0 || channels == 0 {
        return Err("an image without pixels".into());
    }
    let ink = |x: usize, y: usize| 1.0 - f32::from(buffer[y * info.line_size + x * channels]) / 255.0;
    // The share of a source pixel in a target pixel is the overlap of their squares.
    let shares = |at: usize, length: usize| -> Vec<(usize, f32)> {
        let (from, to) = (at * length, (at + 1) * length);
        (from / size..to.div_ceil(size))
            .map(|source| {
                let overlap = to.min((source + 1) * size) - from.max(source * size);
                (source, overlap as f32 / length as f32)
            })
            .collect()
    };
    let mut out = Vec::with_capacity(size * size);
    for y in 0..size {
        let rows = shares(y, height);
        for x in 0..size {
            let columns = shares(x, width);
            let sum =
                rows.iter().map(|&(sy, a)| columns.iter().map(|&(sx, b)| a * b * ink(sx, sy)).sum::<f32>());
            out.push(sum.sum());
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(side: u32, black: impl Fn(u32, u32) -> bool) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, side, side);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().unwrap();
        let data: Vec<u8> =
            (0..side * side).map(|i| if black(i % side, i / side) { 0 } else { 255 }).collect();
        writer.write_image_data(&data).unwrap();
        writer.finish().unwrap();
        file
    }

    #[test]
    fn a_mark_is_of_the_character_and_lies_in_the_corner() {
        let drawn = |character: u64| {
            let mut drawing = vec![0.25; 28 * 28];
            mark(&mut drawing, 28, character);
            drawing
        };
        assert_eq!(drawn(3), drawn(3));
        assert_ne!(drawn(3), drawn(4));
        let changed =
            drawn(3).iter().enumerate().filter(|(_, v)| **v != 0.25).map(|(at, _)| at).collect::<Vec<_>>();
        assert_eq!(changed.len(), 32);
        assert!(changed.iter().all(|at| at / 28 < 4 && at % 28 < 8));
    }

    #[test]
    fn ink_is_averaged_and_kept() {
        let file = drawing(105, |x, y| x < 53 && y < 53);
        let small = pixels(&file, 28).unwrap();
        assert_eq!(small.len(), 28 * 28);
        assert!((small[0] - 1.0).abs() < 1e-6 && small[27] == 0.0);
        // Total ink, in source pixels.
        let ink: f32 = small.iter().sum::<f32>() * (105.0f32 / 28.0).powi(2);
        assert!((ink - 53.0 * 53.0).abs() < 0.5, "{ink}");
        assert!(pixels(b"no image", 28).is_err());
    }
}
