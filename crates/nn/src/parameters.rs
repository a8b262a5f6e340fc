//! Parameters by path: listing, reading, writing, freezing and gradients.
//!
//! A path is the dotted way from the network to the parameter (`encoder.layers.3.attention.query.weight`,
//! `head.0.linear.bias`). Checkpoints, freezing, rate groups and optimiser moments are all keyed by it.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};

/// The way from the network to where a visitor stands.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    /// The variant of an enum is not part of a path: a stage is `head.0`, whatever it is.
    fn enter(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.push(name.into());
        }
    }

    fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.pop();
        }
    }

    fn dotted(&self) -> String {
        self.0.join(".")
    }
}

/// One parameter, without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Dotted path.
    pub path: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Whether it is trained.
    pub trainable: bool,
}

impl Parameter {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether `path` lies in the part of the network that `pattern` names: the whole path or a dotted prefix of it, where `*`
/// stands for any one step.
pub fn matches(pattern: &str, path: &str) -> bool {
    let mut steps = path.split('.');
    pattern.split('.').all(|wanted| steps.next().is_some_and(|step| wanted == "*" || wanted == step))
}

/// Whether the last of these patterns that matches `path` takes it in; one with `!` before it leaves out.
pub fn selected(patterns: &[String], path: &str) -> bool {
    let last = patterns.iter().rev().find(|pattern| matches(pattern.trim_start_matches('!'), path));
    last.is_some_and(|pattern| !pattern.starts_with('!'))
}

/// Every parameter in the order of the network's definition.
pub fn list<M: Module>(network: &M) -> Vec<Parameter> {
    struct List(Path, Vec<Parameter>);
    impl ModuleVisitor for List {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            self.0.exit(container);
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push(Parameter {
                path: self.0.dotted(),
                shape: param.lazy_shape().to_vec(),
                trainable: param.is_require_grad(),
            });
        }
    }
    let mut visitor = List(Path::default(), Vec::new());
    network.visit(&mut visitor);
    visitor.1
}

/// Calls `each` with every parameter's path, shape and values.
pub fn read<M: Module>(network: &M, each: impl FnMut(&str, &[usize], &[f32])) {
    struct Read<F>(Path, F);
    impl<F: FnMut(&str, &[usize], &[f32])> ModuleVisitor for Read<F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            self.0.exit(container);
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = param.val().without_autodiff().into_data();
            let shape = values.shape().to_vec();
            (self.1)(&self.0.dotted(), &shape, values.as_slice::<f32>().expect("parameters are f32"));
        }
    }
    network.visit(&mut Read(Path::default(), each));
}

/// Takes the gradient of every parameter that the graph reached out of `gradients`, by path.
pub fn gradients<M: Module>(network: &M, gradients: &mut Gradients) -> BTreeMap<String, Vec<f32>> {
    struct Take<'a>(Path, &'a mut Gradients, BTreeMap<String, Vec<f32>>);
    impl ModuleVisitor for Take<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            self.0.exit(container);
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad_remove(self.1) {
                let values = gradient.into_data().try_into_vec().expect("gradients are f32");
                self.2.insert(self.0.dotted(), values);
            }
        }
    }
    let mut visitor = Take(Path::default(), gradients, BTreeMap::new());
    network.visit(&mut visitor);
    visitor.2
}

/// Lets `each` change every trainable parameter in place; it gets path and values.
pub fn update<M: Module>(network: M, each: impl FnMut(&str, &mut [f32])) -> M {
    struct Update<F>(Path, F);
    impl<F: FnMut(&str, &mut [f32])> ModuleMapper for Update<F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            self.0.exit(container);
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !param.is_require_grad() {
                return param;
            }
            let (path, each) = (self.0.dotted(), &mut self.1);
            param.map(|tensor| {
                let device = tensor.device();
                let data = tensor.without_autodiff().into_data();
                let shape = data.shape().clone();
                let mut values: Vec<f32> = data.try_into_vec().expect("parameters are f32");
                each(&path, &mut values);
                Tensor::from_data(TensorData::new(values, shape), &device).require_grad()
            })
        }
    }
    network.map(&mut Update(Path::default(), each))
}

/// Replaces the values of every parameter for which `values` returns some, of the parameter's own size.
pub fn write<M: Module>(network: M, mut values: impl FnMut(&str, &[usize]) -> Option<Vec<f32>>) -> M {
    write_data(network, |path, shape| {
        values(path, shape).map(|values| TensorData::new(values, shape.to_vec()))
    })
}

/// [`write`] with values that need not be on the heap.
pub(crate) fn write_data<M: Module>(
    network: M,
    values: impl FnMut(&str, &[usize]) -> Option<TensorData>,
) -> M {
    struct Write<F>(Path, F);
    impl<F: FnMut(&str, &[usize]) -> Option<TensorData>> ModuleMapper for Write<F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            self.0.exit(container);
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let shape = param.lazy_shape().to_vec();
            let Some(values) = (self.1)(&self.0.dotted(), &shape) else { return param };
            let trainable = param.is_require_grad();
            param.map(|tensor| {
                let replaced = Tensor::from_data(values, &tensor.device());
                if trainable && replaced.is_autodiff() { replaced.require_grad() } else { replaced }
            })
        }
    }
    network.map(&mut Write(Path::default(), values))
}

/// Turns on gradient tracking and marks the parameters that `trainable` accepts; the rest are frozen.
pub fn prepare<M: Module>(network: M, trainable: impl Fn(&str) -> bool) -> M {
    struct Mark<F>(Path, F);
    impl<F: Fn(&str) -> bool> ModuleMapper for Mark<F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            self.0.exit(container);
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(Tensor::autodiff).set_require_grad((self.1)(&self.0.dotted()))
        }
    }
    network.map(&mut Mark(Path::default(), trainable))
}

#[cfg(test)]
mod tests {
    use super::{matches, selected};

    #[test]
    fn patterns_are_dotted_prefixes() {
        assert!(matches("encoder.layers.1", "encoder.layers.1.output.weight"));
        assert!(!matches("encoder.layers.1", "encoder.layers.11.output.weight"));
        assert!(matches("encoder.layers.*.output", "encoder.layers.11.output.weight"));
        assert!(!matches("encoder.layers.*.output.weight.x", "encoder.layers.11.output.weight"));
        let patterns = ["encoder", "!encoder.layers.*.output", "encoder.layers.3"].map(str::to_owned);
        let cases =
            [("encoder.embeddings", true), ("encoder.layers.2.output.bias", false), ("head.0", false)];
        for (path, wanted) in cases.into_iter().chain([("encoder.layers.3.output.bias", true)]) {
            assert_eq!(selected(&patterns, path), wanted, "{path}");
        }
        assert!(matches("head", "head.0.linear.bias"));
    }
}
