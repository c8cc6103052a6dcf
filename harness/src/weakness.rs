//! The known weaknesses of the protocol, by name.

pub use onceness_properties::weakness::{WEAKNESSES, Weakness};

/// The weakness of that name.
pub fn find(id: &str) -> Option<&'static Weakness> {
    WEAKNESSES.iter().find(|weakness| weakness.id == id)
}
