//! The output folder: made and tried out before the first case runs, added to as failures are found, never emptied.
//!
//! ```text
//! DIR/junit.xml, DIR/summary.json     of the last run
//! DIR/price.json                      what guarantees cost, by the last `price`
//! DIR/target.log                      what a broker that we started says of itself, in the last run
//! DIR/cases/<n>-<property>/           one failure: plan.json, original.json, history.jsonl, report.txt, case.json
//! DIR/deviations/<n>/                 a kind of what is not as it should be, in the last run: plan.json, history.jsonl
//! DIR/running/<worker>.json           the plan that a worker is running right now (real brokers only)
//! DIR/sweep/<n>-<row>-<mishap>.json   the plans of violated cells, DIR/sweep.json, of the last sweep
//! ```
//! Cases are numbered on from those of earlier runs, so nothing that once failed is lost to a later run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use onceness_reference::plan::Plan;
use onceness_reference::text::plan_to_json;

/// A folder that can be written to.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// Something that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write {}: {error}", path.display())]
pub struct WriteError {
    /// What.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

impl Folder {
    /// Makes the folder, with its parents, and tries whether it can be written to.
    ///
    /// # Errors
    /// When it cannot.
    pub fn create(path: &Path) -> Result<Folder, WriteError> {
        let fault = |error| WriteError { path: path.to_owned(), error };
        fs::create_dir_all(path).map_err(fault)?;
        let probe = path.join(".onceness-probe");
        fs::write(&probe, "can this be written?\n").map_err(fault)?;
        fs::remove_file(&probe).map_err(fault)?;
        Ok(Folder { path: path.to_owned() })
    }

    /// Where a broker that we start logs to.
    pub fn target_log(&self) -> PathBuf {
        self.path.join("target.log")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of the folder, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written; what was there before is still there then.
    pub fn write(&self, name: &str, text: &str) -> Result<(), WriteError> {
        write_whole(&self.path.join(name), text)
    }

    /// Removes a file of the folder, if it is there.
    ///
    /// # Errors
    /// When it is and cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), WriteError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(WriteError { path, error })
            }
            _ => Ok(()),
        }
    }

    /// Removes a folder within it that an earlier run left there.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove_folder(&self, name: &str) -> Result<(), WriteError> {
        let path = self.path.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(WriteError { path, error })
            }
            _ => Ok(()),
        }
    }

    /// Makes a folder within it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create_folder(&self, name: &str) -> Result<(), WriteError> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(|error| WriteError { path, error })
    }

    /// Makes the folder of a new case, numbered after all that are there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new_case(&self, name: &str) -> Result<PathBuf, WriteError> {
        let cases = self.path.join("cases");
        let fault = |error| WriteError { path: cases.clone(), error };
        fs::create_dir_all(&cases).map_err(fault)?;
        let numbers = (fs::read_dir(&cases).map_err(fault)?.flatten()).filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.split('-').next()?.parse::<u64>().ok()
        });
        let next = numbers.max().unwrap_or(0) + 1;
        let path = cases.join(format!("{next}-{name}"));
        fs::create_dir(&path).map_err(|error| WriteError { path: path.clone(), error })?;
        Ok(path)
    }

    /// Forgets the plans that workers were running when they were given up.
    pub(crate) fn clear_slots(&self) {
        let _ = fs::remove_dir_all(self.path.join("running"));
    }

    /// The place for the plan that a worker is running.
    pub(crate) fn slot(&self, worker: usize) -> Slot {
        Slot { path: self.path.join("running").join(format!("{worker}.json")) }
    }
}

/// The place for the plan that a worker is running. What cannot be written here is passed over: a full disk is told when
/// the report is written, and no reason to stop testing.
pub(crate) struct Slot {
    path: PathBuf,
}

impl Slot {
    pub(crate) fn keep(&mut self, plan: &Plan) {
        if let Some(folder) = self.path.parent() {
            let _ = fs::create_dir_all(folder);
        }
        let _ = fs::write(&self.path, plan_to_json(plan));
    }

    pub(crate) fn clear(self) {
        let _ = fs::remove_file(&self.path);
        if let Some(folder) = self.path.parent() {
            // Succeeds for the last worker only.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Writes beside the file and then moves, so that a full disk never leaves half a file in place of a whole one.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<(), WriteError> {
    let fault = |error| WriteError { path: path.to_owned(), error };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.map_err(fault)
}
