//! The adapters from the outside.

mod stock;
mod wire;
