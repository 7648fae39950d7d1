//! Which file is the configuration.

use std::path::{Path, PathBuf};

use super::environment::Environment;

/// Looked for in this order when nobody names a file.
const USUAL: [&str; 2] = ["config.toml", "/etc/bcsync/config.toml"];

/// There is no configuration in any of the usual places.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no configuration: neither --config nor $BCSYNC_CONFIG is given, and neither ./config.toml nor \
         /etc/bcsync/config.toml exists. Begin with a copy of config.toml.example; `bcsync demo` needs none"
)]
pub struct NoConfig;

/// The configuration file: `given` on the command line, else `$BCSYNC_CONFIG`, else `./config.toml`, else
/// `/etc/bcsync/config.toml`. A file that someone named is taken as it is, whether it exists or not.
pub fn find(given: Option<&Path>, environment: &dyn Environment) -> Result<PathBuf, NoConfig> {
    let named = given.map(Path::to_owned).or_else(|| environment.variable("BCSYNC_CONFIG").map(PathBuf::from));
    let usual = || USUAL.iter().map(PathBuf::from).find(|path| path.exists());
    named.or_else(usual).ok_or(NoConfig)
}
