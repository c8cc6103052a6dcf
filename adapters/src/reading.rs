//! Reading a partition as Kafka's consumers do: fetch, leave out what was aborted, and go on behind what was returned
//! (`CompletedFetch` of the Java client).

use onceness_reference::code::Code;
use onceness_reference::ids::{Offset, Partition};
use onceness_reference::plan::Isolation;
use onceness_reference::protocol::{Body, Ending, FetchReply, Request, Response};
use onceness_reference::wrongs::client::ConsumerWrongs;

use crate::progress::Taken;
use crate::transport::{Lane, TargetError, Transport};

/// Who reads what.
#[derive(Clone, Copy)]
pub(crate) struct Reader {
    pub(crate) lane: Lane,
    pub(crate) partition: Partition,
    pub(crate) isolation: Isolation,
    /// What it does wrong.
    pub(crate) wrongs: ConsumerWrongs,
}

/// What one fetch gave an application, and what it told of the partition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) taken: Taken,
    pub(crate) high_watermark: Offset,
    /// -1 where the broker did not tell.
    pub(crate) last_stable: Offset,
}

impl Reader {
    /// Fetches once from a position, and takes at most so many records.
    pub(crate) async fn fetch<T: Transport>(
        self,
        transport: &T,
        from: Offset,
        max: usize,
    ) -> Result<Result<Fetch, Code>, TargetError> {
        let request =
            Request::Fetch { partition: self.partition, offset: from, isolation: self.isolation };
        Ok(match transport.call(self.lane, &request).await? {
            Ok(Response::Fetched(reply)) => Ok(Fetch {
                high_watermark: reply.high_watermark,
                last_stable: reply.last_stable,
                taken: visible(reply, from, max, self.wrongs),
            }),
            // Transports answer a fetch with what was fetched.
            Ok(_) => Err(Code::UNKNOWN_SERVER_ERROR),
            Err(code) => Err(code),
        })
    }
}

/// What an application is handed of a fetch. Without a list of aborted transactions (read_uncommitted) everything is.
pub(crate) fn visible(
    reply: FetchReply,
    from: Offset,
    max: usize,
    wrongs: ConsumerWrongs,
) -> Taken {
    let mut taken = Taken { next: from, records: Vec::new() };
    let mut to_come = reply.aborted;
    if wrongs.takes_aborted_as_listed {
        to_come.reverse();
    } else {
        to_come.sort_unstable_by_key(|(_, first)| std::cmp::Reverse(*first));
    }
    let mut aborted: Vec<i64> = Vec::new();
    for batch in reply.batches {
        if batch.last < from {
            continue;
        }
        while let Some((producer, _)) = to_come.pop_if(|(_, first)| *first <= batch.last) {
            aborted.push(producer);
        }
        let producer = batch.session.map(|session| session.producer);
        match batch.body {
            Body::Marker(Ending::Abort) => aborted.retain(|other| Some(*other) != producer),
            Body::Marker(Ending::Commit) => {}
            Body::Records(_)
                if batch.transactional
                    && aborted.iter().any(|one| Some(*one) == producer)
                    && !wrongs.shows_aborted => {}
            Body::Records(records) => {
                for (offset, record) in records {
                    if offset < taken.next {
                        continue;
                    }
                    if taken.records.len() == max {
                        return taken;
                    }
                    taken.records.push((offset, record));
                    taken.next = offset + 1;
                }
            }
        }
        taken.next = taken.next.max(batch.last + 1);
    }
    taken
}
