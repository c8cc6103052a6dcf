//! Frames on their way through: read as far as needed, passed on as they come, never held as a whole.
//!
//! A frame is its length and so many bytes. Its fields are looked at in the buffer that it passes through, which holds
//! [`READ_AHEAD`] bytes whatever the length claims; only what a fate has to keep is held, and that has a bound of its own.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Fault;

/// Where the length ends.
pub(super) const LENGTH: usize = 4;
/// No frame is longer: ten times what brokers take by default (`socket.request.max.bytes`).
const FRAME_MAX: usize = 1 << 30;
/// What a buffer holds of a frame that passes.
pub(super) const READ_AHEAD: usize = 64 << 10;
/// Room for the small frames that most are; more is made as more comes.
const READ_AT_FIRST: usize = 4 << 10;

/// What a proxy waits for, and how long.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// The next bytes of a frame that has begun, or that the other side takes ours.
    pub(super) bytes: Duration,
    /// False while the client is stalled.
    pub(super) goes: watch::Receiver<bool>,
    /// The largest buffer so far.
    pub(super) largest: Arc<AtomicUsize>,
}

impl Pace {
    /// The same, of something that no stall holds.
    pub(super) fn going(&self) -> Pace {
        Pace { goes: watch::channel(true).1, ..self.clone() }
    }

    async fn gate(&mut self) {
        // The sender lives as long as the proxy does; without one, nothing is stalled.
        let _ = self.goes.wait_for(|goes| *goes).await;
    }
}

/// What comes from one side.
pub(super) struct Inbox {
    stream: OwnedReadHalf,
    bytes: BytesMut,
    pace: Pace,
    /// Whose bytes they are, for what is said of them.
    whose: &'static str,
    /// Whether bytes that do not come are the other side's fault: a client may be slow, a broker may not.
    hurried: bool,
}

impl Inbox {
    pub(super) fn of_client(stream: OwnedReadHalf, pace: Pace) -> Self {
        Inbox { stream, bytes: BytesMut::new(), pace, whose: "the client", hurried: false }
    }

    pub(super) fn of_broker(stream: OwnedReadHalf, pace: Pace) -> Self {
        Inbox { stream, bytes: BytesMut::new(), pace, whose: "the broker", hurried: true }
    }

    /// What has come and not been passed on.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Waits for the next frame. None where the other side closed in good order.
    pub(super) async fn next(&mut self) -> Result<Option<Frame<'_>>, Fault> {
        self.pace.gate().await;
        if self.bytes.is_empty() && self.receive(READ_AT_FIRST).await? == 0 {
            return Ok(None);
        }
        self.pace.gate().await;
        self.fill(LENGTH).await?;
        let length =
            i32::from_be_bytes([self.bytes[0], self.bytes[1], self.bytes[2], self.bytes[3]]);
        match usize::try_from(length) {
            // A correlation id is the least that a frame has.
            Ok(length) if (4..=FRAME_MAX).contains(&length) => {
                Ok(Some(Frame { left: LENGTH + length, at: LENGTH, inbox: self }))
            }
            _ => Err(Fault(format!("{} announces a frame of {length} bytes", self.whose))),
        }
    }

    /// Waits for bytes while none are expected: only the end may come. Can be given up at any point.
    pub(super) async fn unasked(&mut self) -> Result<usize, Fault> {
        self.receive(READ_AT_FIRST).await
    }

    /// Sees to it that so many bytes of a frame are here.
    async fn fill(&mut self, wanted: usize) -> Result<(), Fault> {
        self.fill_on_the_way_to(wanted, wanted).await
    }

    /// The same, where so many more will be wanted.
    async fn fill_on_the_way_to(&mut self, all: usize, wanted: usize) -> Result<(), Fault> {
        while self.bytes.len() < wanted {
            let missing = (all - self.bytes.len()).clamp(READ_AT_FIRST, READ_AHEAD);
            let within = self.hurried.then_some(self.pace.bytes);
            let received = match within {
                None => self.receive(missing).await?,
                Some(within) => {
                    let late = |_| Fault(format!("the broker stops for {within:?} amid a frame"));
                    timeout(within, self.receive(missing)).await.map_err(late)??
                }
            };
            // Stalled bytes have come: they are not late.
            self.pace.gate().await;
            if received == 0 {
                return Err(Fault(format!("{} closes the connection amid a frame", self.whose)));
            }
        }
        Ok(())
    }

    async fn receive(&mut self, room: usize) -> Result<usize, Fault> {
        self.bytes.reserve(room);
        self.pace.largest.fetch_max(self.bytes.capacity(), Ordering::Relaxed);
        match self.stream.read_buf(&mut self.bytes).await {
            Ok(received) => Ok(received),
            // How clients end that leave answers unread.
            Err(cause) if !self.hurried && cause.kind() == ErrorKind::ConnectionReset => Ok(0),
            Err(cause) => Err(Fault(format!("the connection to {} broke: {cause}", self.whose))),
        }
    }
}

/// Where a frame goes.
#[derive(Default)]
pub(super) struct Way<'a> {
    /// To the other side; nowhere without one.
    pub(super) to: Option<&'a mut Outbox>,
    /// And its first bytes to here.
    pub(super) copy: Option<&'a mut Copy>,
}

/// The first bytes of a frame, for the owner.
#[derive(Debug, Default)]
pub(super) struct Copy {
    bytes: BytesMut,
}

/// A copy holds no more.
pub(super) const COPY_MAX: usize = 1 << 20;

impl Copy {
    fn add(&mut self, more: &[u8]) {
        let room = COPY_MAX - self.bytes.len();
        self.bytes.extend_from_slice(&more[..more.len().min(room)]);
    }

    /// The frame without its length.
    pub(super) fn into_frame(self) -> Bytes {
        let mut frame = self.bytes.freeze();
        frame.advance(LENGTH.min(frame.len()));
        frame
    }
}

/// What goes to one side.
pub(super) struct Outbox {
    stream: OwnedWriteHalf,
    /// A broker has to take what it is sent in this time; a client may take its own.
    within: Option<Duration>,
}

impl Outbox {
    pub(super) fn to_client(stream: OwnedWriteHalf) -> Self {
        Outbox { stream, within: None }
    }

    pub(super) fn to_broker(stream: OwnedWriteHalf, pace: &Pace) -> Self {
        Outbox { stream, within: Some(pace.bytes) }
    }

    /// Says that nothing more will come.
    pub(super) async fn close(&mut self) {
        // Who is gone need not be told.
        let _ = self.stream.shutdown().await;
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let whose = if self.within.is_some() { "the broker" } else { "the client" };
        let broke = |cause| Fault(format!("the connection to {whose} broke: {cause}"));
        // By pieces, so that a large kept frame is given the time that it would have had on its way through.
        for piece in bytes.chunks(READ_AHEAD) {
            let writing = self.stream.write_all(piece);
            match self.within {
                None => writing.await.map_err(broke)?,
                Some(within) => {
                    let late = |_| Fault(format!("the broker takes nothing for {within:?}"));
                    timeout(within, writing).await.map_err(late)?.map_err(broke)?;
                }
            }
        }
        Ok(())
    }
}

/// A frame of which nothing has been passed on yet beyond what was read of it.
pub(super) struct Frame<'a> {
    inbox: &'a mut Inbox,
    /// What is left of it, with what was read.
    left: usize,
    /// How far it was read.
    at: usize,
}

impl Frame<'_> {
    /// How long it is, with its length.
    pub(super) fn len(&self) -> usize {
        self.left
    }

    /// Its first bytes, at most so many, without its length. They stay where they are.
    pub(super) async fn peek(&mut self, most: usize) -> Result<&[u8], Fault> {
        let wanted = self.left.min(LENGTH + most);
        self.inbox.fill(wanted).await?;
        Ok(&self.inbox.bytes[LENGTH..wanted])
    }

    /// As many of its first bytes as are here, but at most so many.
    pub(super) fn here(&self, most: usize) -> &[u8] {
        let end = self.left.min(LENGTH + most).min(self.inbox.bytes.len());
        &self.inbox.bytes[LENGTH..end.max(LENGTH)]
    }

    /// Takes it as a whole, with its length.
    pub(super) async fn take(self) -> Result<Bytes, Fault> {
        self.inbox.fill(self.left).await?;
        Ok(self.inbox.bytes.split_to(self.left).freeze())
    }

    /// Puts other bytes in the place of its first ones, which are here.
    pub(super) async fn replace(
        &mut self,
        first: usize,
        by: &[u8],
        way: &mut Way<'_>,
    ) -> Result<(), Fault> {
        let length = (self.left - LENGTH - first + by.len()) as i32;
        pass(way, &length.to_be_bytes()).await?;
        pass(way, by).await?;
        self.inbox.bytes.advance(LENGTH + first);
        self.left -= LENGTH + first;
        self.at = 0;
        Ok(())
    }

    /// Passes on all that is left.
    pub(super) async fn rest(mut self, way: &mut Way<'_>) -> Result<(), Fault> {
        self.skip(self.left - self.at, way).await?;
        self.flush(way).await
    }

    /// Passes over bytes.
    pub(super) async fn skip(&mut self, mut count: usize, way: &mut Way<'_>) -> Result<(), Fault> {
        self.has(count)?;
        loop {
            let step = count.min(self.inbox.bytes.len() - self.at);
            self.at += step;
            count -= step;
            if count == 0 {
                return Ok(());
            }
            self.flush(way).await?;
            self.inbox.fill_on_the_way_to(count, 1).await?;
        }
    }

    /// Reads a number of so many bytes.
    pub(super) async fn number<const N: usize>(
        &mut self,
        way: &mut Way<'_>,
    ) -> Result<[u8; N], Fault> {
        self.has(N)?;
        if self.inbox.bytes.len() < self.at + N {
            self.flush(way).await?;
            self.inbox.fill(N).await?;
        }
        let mut number = [0; N];
        number.copy_from_slice(&self.inbox.bytes[self.at..self.at + N]);
        self.at += N;
        Ok(number)
    }

    /// Writes over the bytes that were read last.
    pub(super) fn write_over<const N: usize>(&mut self, number: [u8; N]) {
        // They are still here: they are only passed on when more are read.
        self.inbox.bytes[self.at - N..self.at].copy_from_slice(&number);
    }

    fn has(&self, count: usize) -> Result<(), Fault> {
        match count <= self.left - self.at {
            true => Ok(()),
            false => Err(Fault("an answer cannot be read: it ends too early".to_owned())),
        }
    }

    async fn flush(&mut self, way: &mut Way<'_>) -> Result<(), Fault> {
        pass(way, &self.inbox.bytes[..self.at]).await?;
        self.inbox.bytes.advance(self.at);
        self.left -= self.at;
        self.at = 0;
        Ok(())
    }
}

async fn pass(way: &mut Way<'_>, bytes: &[u8]) -> Result<(), Fault> {
    if let Some(copy) = &mut way.copy {
        copy.add(bytes);
    }
    match &mut way.to {
        Some(to) => to.write(bytes).await,
        None => Ok(()),
    }
}
