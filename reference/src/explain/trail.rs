//! The cells that requests found on the way to one possible broker, as far as other possible brokers came another way.

use crate::cells::Cells;

use super::world::World;

/// A possible broker, and the cells that requests found on the way to it.
#[derive(Clone, Debug)]
pub(super) struct Possible {
    pub(super) world: World,
    trail: Vec<(u32, Cells)>,
}

impl Possible {
    pub(super) fn to(world: World) -> Possible {
        Possible { world, trail: Vec::new() }
    }

    /// One request further.
    pub(super) fn on(&self, world: World, found: Option<(u32, Cells)>) -> Possible {
        let mut trail = self.trail.clone();
        trail.extend(found);
        Possible { world, trail }
    }

    fn found(&self, request: u32) -> Cells {
        let found = self.trail.iter().find(|(other, _)| *other == request);
        found.map_or_else(Cells::default, |(_, cells)| *cells)
    }
}

/// Two ways to the same broker are one; of what was found on them counts what was found on both.
pub(super) fn add(all: &mut Vec<Possible>, one: Possible) {
    let Some(other) = all.iter_mut().find(|other| other.world == one.world) else {
        return all.push(one);
    };
    for (request, cells) in &mut other.trail {
        *cells = cells.common(one.found(*request));
    }
}

/// What a request found whichever is the broker. If all agree they need not remember it.
pub(super) fn agreed(all: &mut [Possible], request: u32) -> Option<Cells> {
    let first = all.first()?.found(request);
    let agreed = all.iter().all(|one| one.found(request) == first);
    agreed.then(|| {
        for one in all {
            one.trail.retain(|(other, _)| *other != request);
        }
        first
    })
}

/// What else was found whichever is the broker, in the end.
pub(super) fn common(all: &[Possible]) -> Vec<(u32, Cells)> {
    let Some((first, others)) = all.split_first() else { return Vec::new() };
    let on_all = |(request, cells): &(u32, Cells)| {
        let found = others.iter().map(|one| one.found(*request));
        (*request, found.fold(*cells, Cells::common))
    };
    first.trail.iter().map(on_all).collect()
}
