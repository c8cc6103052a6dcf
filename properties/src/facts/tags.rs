//! From a tag to what is known of its record. The tags of our own plans are small and dense; those of others need not be.

use onceness_reference::ids::Tag;
use rustc_hash::FxHashMap;

/// No such record, send, life or transaction.
pub(crate) const NONE: u32 = u32::MAX;

/// A tag may leave this much more of the dense table empty than is full.
const SLACK: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Tags {
    dense: Vec<u32>,
    sparse: FxHashMap<u32, u32>,
    len: u32,
}

impl Tags {
    /// The place of the tag's record, if it has one.
    #[inline]
    pub(crate) fn find(&self, tag: Tag) -> Option<u32> {
        let found = match self.dense.get(tag.0 as usize) {
            Some(found) => *found,
            None if self.sparse.is_empty() => NONE,
            None => self.sparse.get(&tag.0).copied().unwrap_or(NONE),
        };
        (found != NONE).then_some(found)
    }

    /// The place of the tag's record, and whether it is new: then it is the next one.
    #[inline]
    pub(crate) fn find_or_add(&mut self, tag: Tag) -> (u32, bool) {
        match self.find(tag) {
            Some(found) => (found, false),
            None => (self.add(tag), true),
        }
    }

    fn add(&mut self, tag: Tag) -> u32 {
        let place = self.len;
        self.len += 1;
        let index = tag.0 as usize;
        if index >= self.dense.len() && index < 2 * self.len as usize + SLACK {
            self.grow((index + 1).next_power_of_two().max(64));
        }
        match self.dense.get_mut(index) {
            Some(slot) => *slot = place,
            None => {
                self.sparse.insert(tag.0, place);
            }
        }
        place
    }

    fn grow(&mut self, len: usize) {
        self.dense.resize(len, NONE);
        let dense = &mut self.dense;
        self.sparse.retain(|tag, place| match dense.get_mut(*tag as usize) {
            Some(slot) => {
                *slot = *place;
                false
            }
            None => true,
        });
    }
}
