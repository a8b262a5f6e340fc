//! Shapes and colours of classes.
//!
//! Eight colours chosen by search so that the closest two are as far apart as can be (in Oklab) as seen with each kind of
//! colour blindness, at a contrast of 3 against the map, and eight shapes, so that a class can be told
//! without colour. Colour and shape both change from one class to the next, and 64 classes are all different.

pub(super) const COLOURS: usize = 8;
const SHAPES: usize = 8;

/// The colour of a class.
pub(super) fn colour(class: usize) -> usize {
    class % COLOURS
}

/// The shape of a class.
fn shape(class: usize) -> usize {
    (class + class / COLOURS) % SHAPES
}

/// The outline of a class's marker around the current point, as relative path commands that follow `M x y`.
pub(super) fn outline(class: usize) -> &'static str {
    match shape(class) {
        0 => "m-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0z",
        1 => "m0-4.2l3.9 7h-7.8z",
        2 => "m-2.9-2.9h5.8v5.8h-5.8z",
        3 => "m0-4.3l3.6 4.3-3.6 4.3-3.6-4.3z",
        4 => "m0 4.2l3.9-7h-7.8z",
        5 => "m-1.2-4h2.4v2.8h2.8v2.4h-2.8v2.8h-2.4v-2.8h-2.8v-2.4h2.8z",
        6 => "m-4-1.3h8v2.6h-8z",
        _ => "m-3.4 0a3.4 3.4 0 0 1 6.8 0zm0 1.2h6.8v1.8h-6.8z",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_four_classes_differ_in_colour_or_shape() {
        let mut all: Vec<(usize, usize)> = (0..64).map(|class| (colour(class), shape(class))).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 64);
        for class in 0..200 {
            assert_ne!(outline(class), outline(class + 1));
            assert_ne!(colour(class), colour(class + 1));
        }
    }
}
