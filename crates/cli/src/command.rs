//! The commands, each a few calls into the library.

mod bench;
mod completions;
mod config;
mod convert;
mod data;
mod doctor;
mod embed;
mod eval;
mod index;
mod init;
mod inspect;
mod list;
mod quickstart;
mod runs;
mod systems;
mod train;
mod tune;

pub(crate) use bench::bench;
pub(crate) use completions::completions;
pub(crate) use config::config;
pub(crate) use convert::convert;
pub(crate) use data::data;
pub(crate) use doctor::doctor;
pub(crate) use embed::embed;
pub(crate) use eval::eval;
pub(crate) use index::{index, search};
pub(crate) use init::init;
pub(crate) use inspect::inspect;
pub(crate) use list::list;
pub(crate) use quickstart::quickstart;
pub(crate) use runs::runs;
pub(crate) use systems::systems;
pub(crate) use train::train;
pub(crate) use tune::tune;

use std::path::Path;

use parallax::{LoadOptions, Model, Precision};

use crate::args::Load;
use crate::progress::Progress;

fn load(
    path: &Path,
    args: &Load,
    precision: Option<Precision>,
    progress: &Progress,
) -> anyhow::Result<Model> {
    let pooling =
        args.pooling.as_deref().map(|name| parallax::config::parse_component(name, "model.pooling"));
    let options = LoadOptions {
        pooling: pooling.transpose()?,
        max_tokens: args.max_tokens,
        precision: precision.unwrap_or_default(),
    };
    let model = Model::load_with(path, &options, &mut |download| progress.line(&download.to_string()))?;
    Ok(model)
}
