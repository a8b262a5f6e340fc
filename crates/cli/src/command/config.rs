use parallax::RunConfig;

use crate::args::{Config, Global};
use crate::output;

/// `parallax config`
pub(crate) fn config(global: &Global, args: Config) -> anyhow::Result<()> {
    match args {
        Config::Schema => output::document(&parallax::config::schema()),
        Config::Show { config, set } => {
            let mut config = RunConfig::load(config, &set)?;
            if let Some(seed) = global.seed {
                config.seed = seed;
            }
            let text = config.to_toml()?;
            output::result(global, &config, || text)
        }
    }
}
