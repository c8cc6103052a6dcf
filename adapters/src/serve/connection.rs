//! One client's connection: a request is read, carried out and answered before the next, as brokers do it. So a reader that
//! is slow holds up only itself.
//!
//! What comes from a socket is believed for as long as it is bounded: a frame may not be longer than [`FRAME_MAX`], room is
//! made for what has come and not for what is claimed, large frames share [`ROOM`], and nobody may stop amid a frame, or amid
//! an answer, for longer than [`BYTES_WITHIN`].

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::Shared;
use super::call::{LENGTH, Place, Reply};

/// No request is longer. A batch has 1 MiB at most, and a client sends a few in one request.
const FRAME_MAX: usize = 16 << 20;
/// Smaller frames are not counted.
const SMALL: usize = 32 << 10;
/// So many bytes of frames that are not small may be held at once; others wait.
pub(super) const ROOM: usize = 128 << 20;
/// So much is read at once, at most and at least.
const READ_AHEAD: usize = 64 << 10;
const READ_AT_LEAST: usize = 1 << 10;
/// How long a frame may take to come as a whole, and a client to take more of an answer.
const BYTES_WITHIN: Duration = Duration::from_secs(30);
/// A connection that is idle for so long is closed (`connections.max.idle.ms`).
const IDLE_MAX: Duration = Duration::from_secs(600);

pub(super) struct Connection {
    shared: Arc<Shared>,
    stream: TcpStream,
    inbox: BytesMut,
}

/// The connection ends: the client closed it, or is to be left.
struct End;

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        End
    }
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, stream: TcpStream) -> Self {
        Connection { shared, stream, inbox: BytesMut::new() }
    }

    pub(super) async fn serve(mut self) {
        // Where it cannot be had, answers are a little late.
        let _ = self.stream.set_nodelay(true);
        let Ok(address) = self.stream.local_addr() else { return };
        let shared = self.shared.clone();
        while let Ok((frame, _room)) = self.next(&shared).await {
            let Ok(answer) = self.carry_out(address, frame).await else { return };
            if let Some(answer) = answer
                && self.send(answer).await.is_err()
            {
                return;
            }
        }
    }

    /// The next frame, without its length.
    async fn next<'a>(
        &mut self,
        shared: &'a Shared,
    ) -> Result<(Bytes, Option<SemaphorePermit<'a>>), End> {
        if self.inbox.is_empty() {
            // Whoever is idle holds a small buffer only.
            self.inbox = BytesMut::with_capacity(READ_AT_LEAST);
            timeout(IDLE_MAX, self.fill(1)).await.map_err(|_| End)??;
        }
        let whole = async {
            self.fill(LENGTH).await?;
            let start = [self.inbox[0], self.inbox[1], self.inbox[2], self.inbox[3]];
            let length = usize::try_from(i32::from_be_bytes(start)).map_err(|_| End)?;
            if length > FRAME_MAX {
                return Err(End);
            }
            let room = match u32::try_from(length) {
                Ok(bytes) if length > SMALL => {
                    Some(shared.room.acquire_many(bytes).await.map_err(|_| End)?)
                }
                _ => None,
            };
            self.fill(LENGTH + length).await?;
            self.inbox.advance(LENGTH);
            Ok((self.inbox.split_to(length).freeze(), room))
        };
        timeout(BYTES_WITHIN, whole).await.map_err(|_| End)?
    }

    async fn fill(&mut self, wanted: usize) -> Result<(), End> {
        while self.inbox.len() < wanted {
            let missing = wanted - self.inbox.len();
            self.inbox.reserve(missing.clamp(READ_AT_LEAST, READ_AHEAD));
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Err(End);
            }
        }
        Ok(())
    }

    /// The answer to a request, if it wants one; at once, or when what it waits for has come.
    async fn carry_out(&mut self, address: SocketAddr, frame: Bytes) -> Result<Option<Bytes>, End> {
        let shared = self.shared.clone();
        let mut changes = shared.changes.subscribe();
        let came = shared.now();
        let mut memo = None;
        let mut first = true;
        loop {
            changes.mark_unchanged();
            let place = Place { address, now: shared.now(), came };
            let (done, works) = {
                let mut kept = shared.kept();
                let done = kept.carry_out(&frame, place, &mut memo);
                (done.ok().flatten().ok_or(End)?, kept.works())
            };
            let tells = first && is_told(done.api);
            first = false;
            if works {
                shared.work.notify_one();
            }
            if tells {
                shared.changed();
                // What oneself has told is no news.
                changes.mark_unchanged();
            }
            match done.reply {
                Reply::Answer(answer) => return Ok(Some(answer)),
                Reply::Nothing => return Ok(None),
                Reply::Close => return Err(End),
                Reply::Wait(until) => {
                    let left = u64::try_from(until - shared.now()).unwrap_or(0);
                    tokio::select! {
                        // The sender lives as long as the server does.
                        _ = changes.changed() => {}
                        () = tokio::time::sleep(Duration::from_millis(left)) => {}
                        gone = self.gone() => return Err(gone),
                    }
                }
            }
        }
    }

    /// Waits until the client has closed the connection, while it waits for an answer. What it sends in the meantime is taken
    /// in as far as there is room for it.
    async fn gone(&mut self) -> End {
        while self.inbox.len() < READ_AHEAD {
            self.inbox.reserve(READ_AT_LEAST);
            match self.stream.read_buf(&mut self.inbox).await {
                Ok(0) => return End,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return End,
            }
        }
        std::future::pending().await
    }

    async fn send(&mut self, mut answer: Bytes) -> Result<(), End> {
        while !answer.is_empty() {
            let sent = timeout(BYTES_WITHIN, self.stream.write_buf(&mut answer));
            if sent.await.map_err(|_| End)?? == 0 {
                return Err(End);
            }
        }
        Ok(())
    }
}

/// Whether a request may change what others wait for.
fn is_told(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::Produce
            | ApiKey::JoinGroup
            | ApiKey::SyncGroup
            | ApiKey::LeaveGroup
            | ApiKey::DeleteTopics
    )
}
