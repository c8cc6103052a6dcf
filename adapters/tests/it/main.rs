//! The adapters from the outside.

mod wire;
