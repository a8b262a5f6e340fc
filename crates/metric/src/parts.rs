//! What a loss is put together with.

use crate::distance::DistanceConfig;
use crate::error::Error;
use crate::miner::MinerConfig;
use crate::reducer::ReducerConfig;

/// The parts of an objective beside its loss, in force for one evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Which pairs reach the loss.
    pub miner: Option<&'a MinerConfig>,
    /// The distance.
    pub distance: &'a DistanceConfig,
    /// The reducer.
    pub reducer: &'a ReducerConfig,
}

impl Parts<'_> {
    /// Refuses parameters outside their range, and parts that do not fit together.
    pub fn check(&self) -> Result<(), Error> {
        self.distance.check()?;
        self.reducer.check()?;
        let Some(miner) = self.miner else { return Ok(()) };
        miner.check()?;
        miner.check_distance(self.distance)
    }

    /// Refuses a miner, for losses that choose their pairs themselves.
    pub(crate) fn no_miner(&self, loss: &'static str) -> Result<(), Error> {
        if self.miner.is_none() { Ok(()) } else { Err(Error::Unused { loss, part: "miner" }) }
    }

    /// Refuses a reducer, for losses that are one number by their definition.
    pub(crate) fn no_reducer(&self, loss: &'static str) -> Result<(), Error> {
        let mean = *self.reducer == ReducerConfig::mean();
        if mean { Ok(()) } else { Err(Error::Unused { loss, part: "reducer" }) }
    }
}
