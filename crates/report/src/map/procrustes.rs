//! The turn or mirror image of a map that lies closest to another.

/// Moves the mean to the origin.
pub(super) fn centre(map: &mut [[f64; 2]]) {
    let n = map.len() as f64;
    let sum = map.iter().fold([0.0; 2], |[x, y], p| [x + p[0], y + p[1]]);
    map.iter_mut().for_each(|p| *p = [p[0] - sum[0] / n, p[1] - sum[1] / n]);
}

/// Turns, and mirrors if that is better, the centred `map` so that Σ‖mapᵢ − targetᵢ‖² is least; sizes stay.
///
/// In the plane the orthogonal Procrustes problem has a closed form: Σ bᵢ·R(θ)aᵢ = c·cos θ + s·sin θ with
/// c = Σ aᵢ·bᵢ and s = Σ aᵢ × bᵢ is largest, √(c² + s²), at θ = atan2(s, c); the mirror image of `a` is tried as well.
pub(super) fn align(map: &mut [[f64; 2]], target: &[[f64; 2]]) {
    let fit = |mirror: f64| {
        map.iter().zip(target).fold((0.0, 0.0), |(c, s), (a, b)| {
            let y = mirror * a[1];
            (c + a[0] * b[0] + y * b[1], s + a[0] * b[1] - y * b[0])
        })
    };
    let (straight, mirrored) = (fit(1.0), fit(-1.0));
    let size = |(c, s): (f64, f64)| c.hypot(s);
    let (mirror, (c, s)) = if size(mirrored) > size(straight) { (-1.0, mirrored) } else { (1.0, straight) };
    let length = size((c, s));
    let (cos, sin) = if length > 0.0 { (c / length, s / length) } else { (1.0, 0.0) };
    for p in map {
        let (x, y) = (p[0], mirror * p[1]);
        *p = [cos * x - sin * y, sin * x + cos * y];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undoes_a_turn_and_a_mirror_image() {
        let mut target = vec![[3.0, 0.0], [0.0, 1.0], [-2.0, -0.5], [1.0, 4.0]];
        centre(&mut target);
        for (angle, mirror) in [(0.3f64, 1.0), (2.5, -1.0), (-3.0, 1.0), (1.0, -1.0)] {
            let (sin, cos) = angle.sin_cos();
            let mut map: Vec<[f64; 2]> = target
                .iter()
                .map(|p| [cos * p[0] - sin * p[1], mirror * (sin * p[0] + cos * p[1])])
                .collect();
            align(&mut map, &target);
            for (a, b) in map.iter().zip(&target) {
                assert!((a[0] - b[0]).abs() < 1e-12 && (a[1] - b[1]).abs() < 1e-12, "{a:?} {b:?}");
            }
        }
        let mut nothing = [[0.0; 2]; 3];
        align(&mut nothing, &[[0.0; 2]; 3]);
        assert_eq!(nothing, [[0.0; 2]; 3]);
    }
}
