use super::*;
use crate::oracle::{close, everywhere, numbers, wide};

#[test]
fn sums_of_rows_and_their_norm() {
    for (n, d) in [(1, 1), (5, 7), (300, 33), (40, 384), (0, 4)] {
        let tables = [(11usize, 1u64), (6, 2), (1, 3)].map(|(rows, salt)| (rows, numbers(rows * d, salt)));
        let rows: Vec<Vec<u32>> = tables
            .iter()
            .enumerate()
            .map(|(j, (rows, _))| (0..n).map(|i| ((i * 7 + j) % rows) as u32).collect())
            .collect();
        let (gamma, beta) = (numbers(d, 5), numbers(d, 6));
        for many in 0..=3 {
            let lookups: Vec<Lookup<'_>> =
                tables[..many].iter().zip(&rows).map(|((_, table), rows)| Lookup { table, rows }).collect();
            let mut want = vec![0.0f64; n * d];
            for lookup in &lookups {
                for i in 0..n {
                    for c in 0..d {
                        want[i * d + c] += f64::from(lookup.table[lookup.rows[i] as usize * d + c]);
                    }
                }
            }
            everywhere(
                |isa| {
                    let mut plain = vec![0.0; n * d];
                    gather_on(isa, &lookups, d, None, None, &mut plain, None);
                    let (mut sum, mut y, mut statistics) =
                        (vec![0.0; n * d], vec![0.0; n * d], vec![0.0; 2 * n]);
                    let norm = Norm { gamma: &gamma, beta: &beta, epsilon: 1e-5 };
                    let (kept, known) = (Some(&mut sum[..]), Some(&mut statistics[..]));
                    gather_on(isa, &lookups, d, Some(norm), kept, &mut y, known);
                    vec![plain, sum, y, statistics]
                },
                |isa, found| {
                    close(&format!("{isa}"), &found[0], &want, 3e-7);
                    assert_eq!(found[0], found[1]);
                    let (mut y, mut statistics) = (vec![0.0; n * d], vec![0.0; 2 * n]);
                    let known = Some(&mut statistics[..]);
                    norm::layer_norm(&found[1], None, &gamma, &beta, 1e-5, None, &mut y, known);
                    close(&format!("norm {isa}"), &found[2], &wide(&y), 1e-5);
                    close(&format!("statistics {isa}"), &found[3], &wide(&statistics), 1e-4);
                },
            );
        }
    }
}

#[test]
fn gradients_go_back_to_their_rows_in_order() {
    for (n, d) in [(1, 1), (500, 130), (64, 384), (0, 4)] {
        let rows: Vec<u32> = (0..n).map(|i| ((i * i * 5 + i) % 9) as u32).collect();
        let dy = numbers(n * d, 1);
        let start = numbers(9 * d, 2);
        let mut want = start.clone();
        for (i, row) in rows.iter().enumerate() {
            for c in 0..d {
                want[*row as usize * d + c] += dy[i * d + c];
            }
        }
        everywhere(
            |isa| {
                let mut table = start.clone();
                scatter_add_on(isa, &rows, d, &dy, &mut table);
                vec![table]
            },
            |isa, found| assert_eq!(found[0], want, "{isa}"),
        );
    }
}

#[test]
#[should_panic(expected = "of a table of 2")]
fn a_row_beyond_the_table_is_refused() {
    gather(&[Lookup { table: &[0.0; 6], rows: &[2] }], 3, None, None, &mut [0.0; 3], None);
}
