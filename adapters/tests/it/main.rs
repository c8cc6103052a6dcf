//! The adapters from the outside.

mod hostile;
mod librdkafka;
mod serving;
mod stock;
mod wire;
