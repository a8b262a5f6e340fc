use crate::args::{Data, Global};

/// `parallax data`
pub(crate) fn data(_global: &Global, args: Data) -> anyhow::Result<()> {
    let Data::Check(_args) = args;
    anyhow::bail!("to come")
}
