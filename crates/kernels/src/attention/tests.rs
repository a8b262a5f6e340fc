use super::*;
use crate::isa::Isa;
use crate::oracle::{close, differences, dot, everywhere, numbers, wide};

/// Attention in 64 bits, from q, k and v `[N, H · d]`; returns the result and log Σ exp.
fn exact(attention: &Attention<'_>, q: &[f64], k: &[f64], v: &[f64], table: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (heads, size, width) = (attention.heads, attention.size, attention.width());
    let (mut out, mut sums) = (vec![0.0; q.len()], vec![0.0; q.len() / size]);
    for t in 0..attention.texts() {
        let rows = attention.text(t);
        for head in 0..heads {
            let part = |x: &[f64], row: usize| x[row * width + head * size..][..size].to_vec();
            for i in rows.clone() {
                let scores: Vec<f64> = rows
                    .clone()
                    .map(|j| {
                        let bias = attention
                            .bias
                            .map_or(0.0, |b| table[head * (2 * b.reach - 1) + j + b.reach - 1 - i]);
                        dot(&part(q, i), &part(k, j)) / (size as f64).sqrt() + bias
                    })
                    .collect();
                let top = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                let sum: f64 = scores.iter().map(|s| (s - top).exp()).sum();
                sums[i * heads + head] = top + sum.ln();
                let mut mask = vec![1.0; rows.len()];
                if let Some(fill) = attention.dropout {
                    fill(t, head, i - rows.start, &mut mask);
                }
                for (at, j) in rows.clone().enumerate() {
                    let weight = (scores[at] - top).exp() / sum * f64::from(mask[at]);
                    for (c, v) in part(v, j).into_iter().enumerate() {
                        out[i * width + head * size + c] += weight * v;
                    }
                }
            }
        }
    }
    (out, sums)
}

fn drop_some(text: usize, head: usize, query: usize, mask: &mut [f32]) {
    for (key, mask) in mask.iter_mut().enumerate() {
        *mask = if (text * 7 + head * 5 + query * 3 + key * 11).is_multiple_of(4) { 0.0 } else { 4.0 / 3.0 };
    }
}

/// (result, sums, dq, dk, dv, dbias) from a fused matrix of q, k and v.
fn found(isa: Isa, attention: &Attention<'_>, qkv: &[f32], dout: &[f32]) -> Vec<Vec<f32>> {
    let (width, n) = (attention.width(), dout.len() / attention.width());
    let inputs = Rows::thirds(qkv, width);
    let (mut out, mut sums) = (vec![0.0; n * width], vec![0.0; n * attention.heads]);
    forward::run(isa, attention, inputs[0], inputs[1], inputs[2], &mut out, Some(&mut sums));
    let mut d = vec![7.0; 3 * n * width];
    let mut dbias = vec![7.0; attention.bias.map_or(0, |b| b.table.len())];
    let wanted = attention.bias.is_some().then_some(&mut dbias[..]);
    let gradients = RowsMut::thirds(&mut d, width);
    backward::run(isa, attention, inputs, &out, &sums, dout, gradients, wanted);
    vec![out, sums, d, dbias]
}

fn third(x: &[f32], width: usize, part: usize) -> Vec<f64> {
    x.chunks(3 * width).flat_map(|row| wide(&row[part * width..(part + 1) * width])).collect()
}

#[test]
fn values_and_gradients() {
    let shapes: [(&[usize], usize, usize); 6] = [
        (&[0, 1], 1, 1),
        (&[0, 3, 4, 9], 2, 3),
        (&[0, 2, 2, 19], 1, 16),
        (&[0, 17], 3, 8),
        (&[0, 5, 21], 2, 20),
        (&[0, 33, 34], 1, 33),
    ];
    for (offsets, heads, size) in shapes {
        let n = *offsets.last().unwrap();
        let width = heads * size;
        let qkv: Vec<f32> = numbers(3 * n * width, 1).iter().map(|x| 1.5 * x).collect();
        let dout = numbers(n * width, 2);
        let reach = 40;
        let table = numbers(heads * (2 * reach - 1), 3);
        let [q, k, v] = [0, 1, 2].map(|part| third(&qkv, width, part));
        for biased in [false, true] {
            for dropout in [None, Some(&drop_some as Mask<'_>)] {
                let bias = biased.then_some(Bias { table: &table, reach });
                let attention = Attention { offsets, heads, size, bias, dropout };
                let table = wide(&table);
                let wdout = wide(&dout);
                let (out, sums) = exact(&attention, &q, &k, &v, &table);
                let loss = |q: &[f64], k: &[f64], v: &[f64], table: &[f64]| {
                    dot(&exact(&attention, q, k, v, table).0, &wdout)
                };
                let dq = differences(&q, |q| loss(q, &k, &v, &table));
                let dk = differences(&k, |k| loss(&q, k, &v, &table));
                let dv = differences(&v, |v| loss(&q, &k, v, &table));
                let dbias = if biased { differences(&table, |b| loss(&q, &k, &v, b)) } else { vec![] };
                everywhere(
                    |isa| found(isa, &attention, &qkv, &dout),
                    |isa, found| {
                        let what = format!("{offsets:?} {heads}×{size} {biased} {} {isa}", dropout.is_some());
                        close(&what, &found[0], &out, 3e-6);
                        close(&what, &found[1], &sums, 3e-6);
                        for (part, want) in [dq.clone(), dk.clone(), dv.clone()].iter().enumerate() {
                            let slopes: Vec<f32> = found[2]
                                .chunks(3 * width)
                                .flat_map(|r| r[part * width..][..width].to_vec())
                                .collect();
                            close(&format!("{what}, gradient {part}"), &slopes, want, 1e-5);
                        }
                        close(&what, &found[3], &dbias, 2e-5);
                    },
                );
            }
        }
    }
}

#[test]
fn long_texts_run_in_blocks() {
    // Several blocks of queries, the last one not full.
    let (length, heads, size) = (531, 2, 32);
    assert!(block(length) * 9 < length);
    let width = heads * size;
    let offsets = [0, length, length + 20];
    let qkv: Vec<f32> = numbers(3 * offsets[2] * width, 1).iter().map(|x| 3.0 * x).collect();
    let dout = numbers(offsets[2] * width, 2);
    let table = numbers(heads * (2 * length - 1), 3);
    let bias = Some(Bias { table: &table, reach: length });
    let attention = Attention { bias, ..Attention::new(&offsets, heads, size) };
    let [q, k, v] = [0, 1, 2].map(|part| third(&qkv, width, part));
    let (out, sums) = exact(&attention, &q, &k, &v, &wide(&table));
    // Along one direction, by differences of the whole.
    let direction = [4, 5, 6].map(|salt| wide(&numbers(q.len(), salt)));
    let loss = |step: f64| {
        let moved: Vec<Vec<f64>> = [&q, &k, &v]
            .iter()
            .zip(&direction)
            .map(|(x, d)| x.iter().zip(d).map(|(x, d)| x + step * d).collect())
            .collect();
        dot(&exact(&attention, &moved[0], &moved[1], &moved[2], &wide(&table)).0, &wide(&dout))
    };
    let slope = (loss(1e-5) - loss(-1e-5)) / 2e-5;
    everywhere(
        |isa| found(isa, &attention, &qkv, &dout),
        |isa, found| {
            close(&format!("{isa}"), &found[0], &out, 5e-6);
            close(&format!("{isa}"), &found[1], &sums, 5e-6);
            let along: f64 = (0..3).map(|part| dot(&third(&found[2], width, part), &direction[part])).sum();
            assert!((along - slope).abs() < 1e-4 * slope.abs().max(1.0), "{isa}: {along} {slope}");
            // Adding one number to all scores of a query changes nothing.
            let sum: f64 = wide(&found[3]).iter().sum();
            assert!(sum.abs() < 1e-3, "{isa}: {sum}");
        },
    );
}

#[test]
fn a_text_does_not_see_its_neighbours() {
    let (heads, size) = (2, 24);
    let width = heads * size;
    let lengths = [7usize, 1, 40, 16, 100];
    let offsets: Vec<usize> = std::iter::once(0)
        .chain(lengths.iter().scan(0, |end, l| {
            *end += l;
            Some(*end)
        }))
        .collect();
    let n = offsets[5];
    let (qkv, dout) = (numbers(3 * n * width, 1), numbers(n * width, 2));
    for isa in crate::isa::available() {
        let all = found(isa, &Attention::new(&offsets, heads, size), &qkv, &dout);
        for t in 0..5 {
            let rows = offsets[t]..offsets[t + 1];
            let alone = found(
                isa,
                &Attention::new(&[0, lengths[t]], heads, size),
                &qkv[rows.start * 3 * width..rows.end * 3 * width],
                &dout[rows.start * width..rows.end * width],
            );
            assert_eq!(alone[0], all[0][rows.start * width..rows.end * width], "{isa} {t}");
            assert_eq!(alone[2], all[2][rows.start * 3 * width..rows.end * 3 * width], "{isa} {t}");
        }
    }
}

#[test]
fn separate_matrices_equal_a_fused_one() {
    let (offsets, heads, size) = ([0, 9, 30], 3, 16);
    let width = heads * size;
    let (qkv, dout) = (numbers(3 * 30 * width, 1), numbers(30 * width, 2));
    let attention = Attention::new(&offsets, heads, size);
    let fused = found(isa::current(), &attention, &qkv, &dout);
    let parts: [Vec<f32>; 3] = [0, 1, 2]
        .map(|part| qkv.chunks(3 * width).flat_map(|r| r[part * width..][..width].to_vec()).collect());
    let [q, k, v] = [0, 1, 2].map(|part| Rows::whole(&parts[part], width));
    let mut out = vec![0.0; 30 * width];
    attention.forward(q, k, v, &mut out, None);
    assert_eq!(out, fused[0]);
    let mut d = [0, 1, 2].map(|_| vec![0.0; 30 * width]);
    let [dq, dk, dv] = &mut d;
    let gradients = [dq, dk, dv].map(|d| RowsMut::whole(d, width));
    attention.backward([q, k, v], &out, &fused[1], &dout, gradients, None);
    for part in 0..3 {
        let want: Vec<f32> =
            fused[2].chunks(3 * width).flat_map(|r| r[part * width..][..width].to_vec()).collect();
        assert_eq!(d[part], want);
    }
}

#[test]
fn nothing_to_attend_to() {
    for offsets in [&[][..], &[0], &[0, 0, 0]] {
        let attention = Attention::new(offsets, 2, 4);
        let empty = Rows::whole(&[], 8);
        attention.forward(empty, empty, empty, &mut [], Some(&mut []));
        let gradients = [0, 1, 2].map(|_| RowsMut::whole(&mut [], 8));
        attention.backward([empty; 3], &[], &[], &[], gradients, None);
    }
}

#[test]
#[should_panic(expected = "2 rows of 8 values")]
fn a_short_slice_is_refused() {
    let short = [0.0; 15];
    let rows = Rows::whole(&short, 8);
    Attention::new(&[0, 2], 2, 4).forward(rows, rows, rows, &mut [0.0; 16], None);
}
