//! What a run is surrounded by: who may stop it, who watches it, and where it writes.

use std::sync::Arc;

use crate::config::Config;
use crate::folder::Folder;
use crate::gauge::Gauge;
use crate::stop::Stop;

/// The surroundings of a run.
#[derive(Clone, Debug, Default)]
pub struct Rig {
    /// Who may stop it.
    pub stop: Stop,
    /// Who watches it.
    pub gauge: Arc<Gauge>,
    /// Where it writes; none: nowhere.
    pub folder: Option<Folder>,
    /// What `onceness.toml` says.
    pub config: Config,
}
