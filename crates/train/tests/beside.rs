//! What an objective wants of the network beside embeddings, through whole steps of training: where gradients go, that they
//! are the derivatives of the loss, and that chunks change nothing.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use parallax_data::sampler::{Batches, Rows, Sampler, SequentialSampler};
use parallax_metric::mixup::{Form, Level, Metrix, MixupConfig};
use parallax_metric::regularizer::{Confused, EnergyConfusion, RegularizerConfig};
use parallax_metric::{Batch, Context, Error, Evaluated, LossConfig, Objective, Shape};
use parallax_nn::head::{Head, Mlp};
use parallax_nn::{Input, SentenceEncoder, parameters};
use parallax_random::Key;
use parallax_train::{Criterion, Example, Examples, GradCache, Result, Trainer, Training};

const ROWS: usize = 12;
const INPUT: usize = 4;

struct Vectors(Vec<u32>);

impl Examples for Vectors {
    fn labels(&self) -> &[u32] {
        &self.0
    }

    fn paired(&self) -> bool {
        false
    }

    fn fetch(&self, rows: &[u32]) -> Result<Vec<Example>> {
        let vector =
            |row: u32| (0..INPUT as u64).map(|d| Key::new(3).at(row.into()).normal(d) as f32).collect();
        let example = |&row: &u32| Example {
            anchor: Input::Vector(vector(row)),
            positive: None,
            negatives: Vec::new(),
        };
        Ok(rows.iter().map(example).collect())
    }
}

fn model() -> SentenceEncoder {
    let head = Head::Mlp(Mlp { hidden: Some(5), dim: Some(3), ..Mlp::default() });
    let stages = head.build(INPUT, Key::new(1), &parallax_nn::cpu()).unwrap();
    SentenceEncoder::over_vectors(INPUT, stages).unwrap()
}

fn weights(model: &SentenceEncoder) -> Vec<(String, Vec<f32>)> {
    let mut found = Vec::new();
    parameters::read(model.network(), |path, _, values| found.push((path.to_owned(), values.to_vec())));
    found
}

/// The parameters after so many steps, and the lines of the log.
fn train(
    criterion: &dyn Criterion,
    model: SentenceEncoder,
    steps: u64,
    chunk: Option<usize>,
) -> (SentenceEncoder, Vec<serde_json::Value>) {
    let folder = tempfile::tempdir().unwrap();
    let examples = Vectors((0..ROWS as u32).map(|row| row % 4).collect());
    let rows = Rows { n: ROWS, labels: Some(&examples.0), texts: &[] };
    let sampler = Sampler::Sequential(SequentialSampler::default());
    let batches: Batches = sampler.build(ROWS, rows, Key::new(5)).unwrap();
    let mut config = Training {
        epochs: steps,
        batch_size: ROWS,
        grad_cache: chunk.map(|chunk| GradCache { chunk }),
        ..Training::default()
    };
    let parallax_train::optimizer::Optimizer::Adamw(adamw) = &mut config.optimizer;
    (adamw.lr, adamw.weight_decay) = (1e-2, 0.0);
    let trainer = Trainer {
        objective: criterion,
        config: &config,
        examples: &examples,
        batches: &batches,
        validate: None,
        validation_seconds: 0.0,
        key: Key::new(9),
        stop: &AtomicBool::new(false),
        folder: folder.path(),
        fingerprint: String::new(),
        tensorboard: false,
    };
    let trained = trainer.run(model, false, &mut |_| ()).unwrap();
    (trained.model, log(folder.path()))
}

fn log(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn confusing(weight: f64, trains: Confused) -> Option<RegularizerConfig> {
    Some(RegularizerConfig::EnergyConfusion(EnergyConfusion { weight, trains, ..EnergyConfusion::default() }))
}

fn mixing(level: Level, weight: f64) -> Option<MixupConfig> {
    Some(MixupConfig::Metrix(Metrix { level, weight, ..Metrix::default() }))
}

fn loss() -> Objective {
    serde_json::from_str(r#"{"loss": {"name": "multi_similarity", "beta": 8.0}}"#).unwrap()
}

/// Energy confusion and nothing else.
#[derive(Debug)]
struct OnlyConfusion(EnergyConfusion);

impl Criterion for OnlyConfusion {
    fn name(&self) -> String {
        "only_confusion".into()
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn confusion(&self) -> Option<&EnergyConfusion> {
        Some(&self.0)
    }

    fn evaluate(&self, batch: &Batch<'_, f32>, context: &Context<'_, f32>) -> Result<Evaluated<f32>, Error> {
        let layer = context.layer.unwrap();
        let found = self.0.evaluate(layer.z, layer.dim, layer.labels, context.key)?;
        Ok(Evaluated {
            value: found.value,
            grad: vec![0.0; batch.x.len()],
            layer_grad: found.grad,
            ..Evaluated::default()
        })
    }

    fn memory_bytes(&self, _: &Shape) -> usize {
        0
    }
}

#[test]
fn confusion_reaches_the_metric_layer_alone() {
    let before = weights(&model());
    for (trains, reached) in [(Confused::MetricLayer, false), (Confused::Everything, true)] {
        let criterion = OnlyConfusion(EnergyConfusion { trains, ..EnergyConfusion::default() });
        let after = weights(&train(&criterion, model(), 1, None).0);
        let moved = |path: &str| {
            let of = |all: &[(String, Vec<f32>)]| all.iter().find(|one| one.0 == path).unwrap().1.clone();
            of(&before) != of(&after)
        };
        assert_eq!(moved("head.0.linear.weight"), reached);
        assert_eq!(moved("head.0.linear.bias"), reached);
        assert!(moved("head.1.linear.weight"));
    }
}

#[test]
fn weights_of_zero_are_the_loss_to_the_last_bit() {
    let (base, lines) = train(&loss(), model(), 3, None);
    let off = Objective {
        regularizer: confusing(0.0, Confused::MetricLayer),
        mixup: mixing(Level::Feature, 0.0),
        ..loss()
    };
    let (same, watched) = train(&off, model(), 3, None);
    assert_eq!(weights(&same), weights(&base));
    for (line, watched) in lines.iter().zip(&watched) {
        assert_eq!(line["loss"], watched["loss"]);
        // Seen, though not acted upon.
        assert!(
            watched["metric_layer_norm"].as_f64().unwrap() > 0.0 && watched["energy"].as_f64().unwrap() > 0.0
        );
    }
    let on = Objective { regularizer: confusing(0.2, Confused::MetricLayer), ..loss() };
    assert_ne!(weights(&train(&on, model(), 3, None).0), weights(&base));
}

fn everything(level: Level) -> Objective {
    Objective { regularizer: confusing(0.3, Confused::Everything), mixup: mixing(level, 0.8), ..loss() }
}

#[test]
fn chunks_give_what_the_whole_batch_gives() {
    for level in [Level::Input, Level::Feature, Level::Embedding] {
        let (whole, lines) = train(&everything(level), model(), 4, None);
        let (chunked, same) = train(&everything(level), model(), 4, Some(5));
        for (line, same) in lines.iter().zip(&same) {
            for name in ["loss", "gradient_norm", "mixed", "energy_confusion"] {
                let (a, b) = (line[name].as_f64().unwrap(), same[name].as_f64().unwrap());
                assert!((a - b).abs() < 1e-5 * a.abs().max(1.0), "{level:?} {name}: {a} {b}");
            }
        }
        for ((path, a), (_, b)) in weights(&whole).iter().zip(weights(&chunked)) {
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "{level:?} {path}");
        }
    }
}

#[test]
fn the_gradient_is_that_of_the_logged_loss() {
    // The norm of the gradient over all parameters against central differences of the loss of the first step.
    let own = |path: &str, at: usize, h: f32| {
        let network = model();
        network.map_network(|network| {
            parameters::write(network, |here, _| {
                (here == path).then(|| {
                    let mut values = weights(&model()).into_iter().find(|one| one.0 == path).unwrap().1;
                    values[at] += h;
                    values
                })
            })
        })
    };
    let labelings = Objective {
        mixup: Some(MixupConfig::Metrix(Metrix {
            form: Form::Labelings,
            level: Level::Feature,
            ..Metrix::default()
        })),
        ..Objective::from(LossConfig::Supcon(Default::default()))
    };
    for objective in
        [everything(Level::Input), everything(Level::Feature), everything(Level::Embedding), labelings]
    {
        let norm = train(&objective, model(), 1, None).1[0]["gradient_norm"].as_f64().unwrap();
        let mut square = 0.0;
        for (path, values) in weights(&model()) {
            for at in 0..values.len() {
                let value =
                    |h: f32| train(&objective, own(&path, at, h), 1, None).1[0]["loss"].as_f64().unwrap();
                let h = 4e-3;
                let slope = (value(h) - value(-h)) / f64::from(2.0 * h);
                square += slope * slope;
            }
        }
        assert!((square.sqrt() / norm - 1.0).abs() < 2e-3, "{objective:?}: {norm} {}", square.sqrt());
    }
}

#[test]
fn a_model_without_a_linear_layer_is_refused() {
    let objective = Objective { regularizer: confusing(0.1, Confused::MetricLayer), ..loss() };
    let examples = Vectors((0..ROWS as u32).map(|row| row % 4).collect());
    let rows = Rows { n: ROWS, labels: Some(&examples.0), texts: &[] };
    let batches = Sampler::Sequential(SequentialSampler::default()).build(ROWS, rows, Key::new(5)).unwrap();
    let mut config = Training::default();
    let refused = |config: &Training, model: &SentenceEncoder| {
        let trainer = Trainer {
            objective: &objective,
            config,
            examples: &examples,
            batches: &batches,
            validate: None,
            validation_seconds: 0.0,
            key: Key::new(9),
            stop: &AtomicBool::new(false),
            folder: Path::new("nowhere"),
            fingerprint: String::new(),
            tensorboard: false,
        };
        trainer.check_model(model).unwrap_err()
    };
    let bare = SentenceEncoder::over_vectors(INPUT, Vec::new()).unwrap();
    assert!(matches!(refused(&config, &bare), parallax_train::Error::NoMetricLayer { .. }));
    config.freeze = vec!["head.1".into()];
    assert!(refused(&config, &model()).to_string().contains("head.1.linear.weight"));
}
