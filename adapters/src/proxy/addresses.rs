//! What has to be changed in answers so that a client stays on the proxy: the addresses that brokers advertise.
//!
//! Metadata, FindCoordinator and DescribeCluster name them near their start: that much is rewritten, the rest passes. The
//! hints of KIP-951 (where the new leader is, at the end of answers to Produce and Fetch) are hidden rather than rewritten:
//! their tag becomes one that nobody knows, in place, for by then the frame's length and its records are on their way. A
//! client that gets no hint asks for Metadata, as it does of any broker that gives none. What the proxy could not read it
//! must not let clients ask for, so ApiVersions tells no version of these five that is not known here.
//!
//! Not covered are share groups (ShareFetch, ShareAcknowledge), whose answers hold hints that are no tagged fields.

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::Fault;
use super::frames::{Frame, LENGTH, Way};
use crate::wire::fields::{Fields, Malformed};

/// Addresses are named within so many bytes, or the answer is not believed.
const HEAD_MAX: usize = 1 << 20;

/// A tag that no version of these answers has.
const HIDDEN: u8 = 0x7f;

/// The versions that are known here, of the APIs whose answers are looked into.
const KNOWN: [(ApiKey, i16); 5] = [
    (ApiKey::Produce, 13),
    (ApiKey::Fetch, 18),
    (ApiKey::Metadata, 13),
    (ApiKey::FindCoordinator, 6),
    (ApiKey::DescribeCluster, 2),
];

/// Where a client finds what is advertised at that host and port.
pub(super) trait Listeners: Sync {
    /// The proxy's own host and port for it.
    fn listener(&self, host: &str, port: u16) -> Result<(String, u16), Fault>;
}

/// Whether the answers to a request can be looked into.
pub(super) fn is_known(api: i16, version: i16) -> bool {
    highest(api).is_none_or(|highest| version <= highest)
}

fn highest(api: i16) -> Option<i16> {
    KNOWN.iter().find(|(key, _)| *key as i16 == api).map(|(_, highest)| *highest)
}

/// Passes on an answer of which nothing was read, changed where it must be.
pub(super) async fn relay(
    mut frame: Frame<'_>,
    (api, version): (i16, i16),
    listeners: &dyn Listeners,
    way: &mut Way<'_>,
) -> Result<(), Fault> {
    let rewrite = match (ApiKey::try_from(api), version) {
        (Ok(ApiKey::ApiVersions), _) => return lower(frame, version, way).await,
        (Ok(ApiKey::Produce), 10..) => return Walk { frame, way }.produce(version).await,
        (Ok(ApiKey::Fetch), 16..) => return Walk { frame, way }.fetch().await,
        (Ok(ApiKey::Metadata), _) => metadata,
        (Ok(ApiKey::FindCoordinator), _) => coordinators,
        (Ok(ApiKey::DescribeCluster), _) => cluster,
        _ => return frame.rest(way).await,
    };
    let (first, by) = rewritten(&mut frame, version, rewrite, listeners).await?;
    frame.replace(first, &by, way).await?;
    frame.rest(way).await
}

type Rewrite = fn(&mut Head<'_>, i16) -> Result<(), Trouble>;

/// The start of an answer with other addresses, and how long it was before.
async fn rewritten(
    frame: &mut Frame<'_>,
    version: i16,
    rewrite: Rewrite,
    listeners: &dyn Listeners,
) -> Result<(usize, Vec<u8>), Fault> {
    let mut most = 4 << 10;
    loop {
        let here = Bytes::copy_from_slice(frame.peek(most).await?);
        let complete = here.len() + LENGTH == frame.len() || most >= HEAD_MAX;
        let mut head = Head::of(here, listeners);
        match rewrite(&mut head, version) {
            Ok(()) => return Ok(head.done()),
            Err(Trouble::Listening(fault)) => return Err(fault),
            Err(Trouble::Reading(fault)) if complete => {
                return Err(Fault(format!("an answer cannot be read: it {fault}")));
            }
            Err(Trouble::Reading(_)) => most *= 8,
        }
    }
}

/// Why an answer is not rewritten.
enum Trouble {
    /// More of it may be needed.
    Reading(Malformed),
    Listening(Fault),
}

impl From<Malformed> for Trouble {
    fn from(fault: Malformed) -> Self {
        Trouble::Reading(fault)
    }
}

fn metadata(head: &mut Head<'_>, version: i16) -> Result<(), Trouble> {
    head.header(version >= 9)?;
    if version >= 3 {
        head.fields.i32()?;
    }
    for _ in 0..head.fields.count()? {
        head.fields.i32()?;
        head.address()?;
        if version >= 1 {
            head.fields.text()?;
        }
        head.fields.pass_tags()?;
    }
    Ok(())
}

fn cluster(head: &mut Head<'_>, version: i16) -> Result<(), Trouble> {
    head.header(true)?;
    head.fields.i32()?;
    head.fields.i16()?;
    head.fields.text()?;
    if version >= 1 {
        head.fields.i8()?;
    }
    head.fields.text()?;
    head.fields.i32()?;
    for _ in 0..head.fields.count()? {
        head.fields.i32()?;
        head.address()?;
        head.fields.text()?;
        if version >= 2 {
            head.fields.bool()?;
        }
        head.fields.pass_tags()?;
    }
    Ok(())
}

fn coordinators(head: &mut Head<'_>, version: i16) -> Result<(), Trouble> {
    head.header(version >= 3)?;
    if version >= 1 {
        head.fields.i32()?;
    }
    if version <= 3 {
        head.fields.i16()?;
        if version >= 1 {
            head.fields.text()?;
        }
        head.fields.i32()?;
        return head.address();
    }
    for _ in 0..head.fields.count()? {
        head.fields.text()?;
        head.fields.i32()?;
        head.address()?;
        head.fields.i16()?;
        head.fields.text()?;
        head.fields.pass_tags()?;
    }
    Ok(())
}

/// The start of an answer as it is rewritten.
struct Head<'a> {
    whole: Bytes,
    fields: Fields,
    flexible: bool,
    /// How much of it is done.
    done: usize,
    by: Vec<u8>,
    listeners: &'a dyn Listeners,
}

impl<'a> Head<'a> {
    fn of(whole: Bytes, listeners: &'a dyn Listeners) -> Self {
        let fields = Fields::new(whole.clone(), false);
        Head { whole, fields, flexible: false, done: 0, by: Vec::new(), listeners }
    }

    /// Correlation id, and tagged fields since answers are flexible.
    fn header(&mut self, flexible: bool) -> Result<(), Trouble> {
        let whole = self.whole.clone();
        self.fields = Fields::new(whole, flexible);
        self.flexible = flexible;
        self.fields.i32()?;
        Ok(self.fields.pass_tags()?)
    }

    fn at(&self) -> usize {
        self.whole.len() - self.fields.left()
    }

    fn address(&mut self) -> Result<(), Trouble> {
        let start = self.at();
        let (host, port) = (self.fields.text()?, self.fields.i32()?);
        // Where there is nobody the host is empty and the port -1.
        let Some(port) = u16::try_from(port).ok().filter(|port| *port > 0 && !host.is_empty())
        else {
            return Ok(());
        };
        let (host, port) = self.listeners.listener(&host, port).map_err(Trouble::Listening)?;
        self.by.extend_from_slice(&self.whole[self.done..start]);
        match self.flexible {
            // Our own host is the text of an IP address: its length takes one byte.
            true => self.by.push(host.len() as u8 + 1),
            false => self.by.extend((host.len() as u16).to_be_bytes()),
        }
        self.by.extend_from_slice(host.as_bytes());
        self.by.extend(i32::from(port).to_be_bytes());
        self.done = self.at();
        Ok(())
    }

    fn done(mut self) -> (usize, Vec<u8>) {
        let end = self.at();
        self.by.extend_from_slice(&self.whole[self.done..end]);
        (end, self.by)
    }
}

/// Passes on an answer to ApiVersions, with no version that is unknown here.
async fn lower(frame: Frame<'_>, version: i16, way: &mut Way<'_>) -> Result<(), Fault> {
    let mut walk = Walk { frame, way };
    // Always the oldest header (KIP-511).
    walk.skip(4).await?;
    let refused = walk.i16().await? != 0;
    if refused {
        return walk.frame.rest(walk.way).await;
    }
    let flexible = version >= 3;
    let count = if flexible { walk.compact().await? } else { walk.i32().await? as usize };
    for _ in 0..count {
        let api = walk.i16().await?;
        walk.i16().await?;
        let told = walk.i16().await?;
        if let Some(highest) = highest(api)
            && highest < told
        {
            walk.frame.write_over(highest.to_be_bytes());
        }
        if flexible {
            walk.tags(None).await?;
        }
    }
    walk.frame.rest(walk.way).await
}

/// A walk over the fields of an answer that passes. All of it is in the flexible encoding.
struct Walk<'a, 'b, 'c> {
    frame: Frame<'a>,
    way: &'b mut Way<'c>,
}

impl Walk<'_, '_, '_> {
    async fn produce(mut self, version: i16) -> Result<(), Fault> {
        self.skip(4).await?;
        self.tags(None).await?;
        for _ in 0..self.compact().await? {
            self.topic(version >= 13).await?;
            for _ in 0..self.compact().await? {
                // Index, error, base offset, append time, log start.
                self.skip(4 + 2 + 8 + 8 + 8).await?;
                for _ in 0..self.compact().await? {
                    self.skip(4).await?;
                    self.text().await?;
                    self.tags(None).await?;
                }
                self.text().await?;
                self.tags(None).await?;
            }
            self.tags(None).await?;
        }
        self.skip(4).await?;
        self.tags(Some(HIDDEN)).await?;
        self.frame.rest(self.way).await
    }

    async fn fetch(mut self) -> Result<(), Fault> {
        self.skip(4).await?;
        self.tags(None).await?;
        // Throttle time, error, fetch session.
        self.skip(4 + 2 + 4).await?;
        for _ in 0..self.compact().await? {
            self.topic(true).await?;
            for _ in 0..self.compact().await? {
                // Index, error, high watermark, last stable, log start.
                self.skip(4 + 2 + 8 + 8 + 8).await?;
                for _ in 0..self.compact().await? {
                    self.skip(8 + 8).await?;
                    self.tags(None).await?;
                }
                self.skip(4).await?;
                // The records.
                self.text().await?;
                self.tags(None).await?;
            }
            self.tags(None).await?;
        }
        self.tags(Some(HIDDEN)).await?;
        self.frame.rest(self.way).await
    }

    async fn topic(&mut self, by_id: bool) -> Result<(), Fault> {
        match by_id {
            true => self.skip(16).await,
            false => self.text().await,
        }
    }

    async fn skip(&mut self, count: usize) -> Result<(), Fault> {
        self.frame.skip(count, self.way).await
    }

    async fn i16(&mut self) -> Result<i16, Fault> {
        Ok(i16::from_be_bytes(self.frame.number(self.way).await?))
    }

    async fn i32(&mut self) -> Result<i32, Fault> {
        Ok(i32::from_be_bytes(self.frame.number(self.way).await?))
    }

    async fn unsigned(&mut self) -> Result<usize, Fault> {
        let mut value = 0usize;
        for shift in (0..35).step_by(7) {
            let [byte] = self.frame.number(self.way).await?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault("an answer cannot be read: it has a number of more than 32 bits".to_owned()))
    }

    /// A count, of which null is none. It need not be believed: each entry is read, and a frame has an end.
    async fn compact(&mut self) -> Result<usize, Fault> {
        Ok(self.unsigned().await?.saturating_sub(1))
    }

    /// Text or bytes.
    async fn text(&mut self) -> Result<(), Fault> {
        let length = self.compact().await?;
        self.skip(length).await
    }

    /// Tagged fields, of which the one with tag 0 gets another tag.
    async fn tags(&mut self, hidden: Option<u8>) -> Result<(), Fault> {
        for _ in 0..self.unsigned().await? {
            let tag = self.unsigned().await?;
            if let (0, Some(hidden)) = (tag, hidden) {
                self.frame.write_over([hidden]);
            }
            let size = self.unsigned().await?;
            self.skip(size).await?;
        }
        Ok(())
    }
}
