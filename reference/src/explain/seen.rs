//! What a history says of each request, looked up once: what it touches, and how it ended.

use crate::code::Code;
use crate::exchanges::{Exchange, Lane};
use crate::history::History;
use crate::ids::TxnId;
use crate::protocol::{Answer, Request, Response, Session};

use super::touches::Touches;

/// Given up by the broker, or before it knew itself: the request may have been carried out.
const INDETERMINATE: [Code; 5] = [
    Code::REQUEST_TIMED_OUT,
    Code::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    Code::NETWORK_EXCEPTION,
    Code::UNKNOWN_SERVER_ERROR,
    Code::KAFKA_STORAGE_ERROR,
];

/// What is known of how a request ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known<'h> {
    /// It was answered so.
    Answer(&'h Answer),
    /// It was refused, for another of the same transactional id and of a later epoch was under way.
    Overtaken,
    /// Nothing. The producer id that it gave, as later answers tell, if it gave one.
    Nothing(i64),
}

/// A request, and what is known of it.
#[derive(Debug)]
pub(super) struct Asked<'h> {
    pub(super) request: &'h Request,
    pub(super) lane: Lane,
    pub(super) touches: Touches,
    pub(super) known: Known<'h>,
    /// The place of its answer, or of the end of all hope for one.
    end: usize,
}

impl Asked<'_> {
    /// Whether nobody can say whether it was carried out.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.known, Known::Nothing(_))
    }

    /// Whether it makes a difference that it was carried out. What only reads matters if it was answered: by what was there.
    pub(super) fn matters(&self) -> bool {
        self.touches.changes() || !self.is_open()
    }
}

/// The exchanges of a history, and the requests among them.
#[derive(Debug)]
pub(super) struct Seen<'h> {
    pub(super) exchanges: &'h [Exchange],
    /// By place; none where the exchange is no request.
    asked: Vec<Option<Asked<'h>>>,
}

impl<'h> Seen<'h> {
    pub(super) fn of(history: &'h History) -> Seen<'h> {
        let exchanges = &history.exchanges;
        let asked = exchanges.iter().map(|exchange| match exchange {
            Exchange::Asked { request, lane, .. } => Some(Asked {
                request,
                lane: *lane,
                touches: Touches::of(request),
                known: Known::Nothing(0),
                end: usize::MAX,
            }),
            _ => None,
        });
        let mut seen = Seen { exchanges, asked: asked.collect() };
        for (place, exchange) in exchanges.iter().enumerate() {
            if let Exchange::Answered { of, .. } | Exchange::Unanswered { of } = exchange
                && let Some(Some(asked)) = seen.asked.get_mut(*of as usize)
            {
                asked.end = place;
            }
        }
        for place in 0..exchanges.len() {
            let known = seen.known(place);
            if let (Some(known), Some(Some(asked))) = (known, seen.asked.get_mut(place)) {
                asked.known = known;
            }
        }
        seen
    }

    /// The request at that place among the exchanges.
    pub(super) fn asked(&self, place: u32) -> Option<&Asked<'h>> {
        self.asked.get(place as usize)?.as_ref()
    }

    /// How many answers there are.
    pub(super) fn answers(&self) -> u64 {
        let answers = self.exchanges.iter();
        answers.filter(|one| matches!(one, Exchange::Answered { .. })).count() as u64
    }

    fn known(&self, place: usize) -> Option<Known<'h>> {
        let asked = self.asked.get(place)?.as_ref()?;
        let end = self.exchanges.get(asked.end);
        let unanswered = matches!(asked.request, Request::Produce { acks: false, .. });
        let joins = matches!(asked.request, Request::Join { .. });
        Some(match end {
            Some(Exchange::Answered { answer: Err(Code::INVALID_PRODUCER_EPOCH), .. })
                if self.is_overtaken(place, asked) =>
            {
                Known::Overtaken
            }
            Some(Exchange::Answered { answer: Err(code), .. })
                // Joining is two requests: a successor that comes between them fences whom it has let replace its predecessor.
                if !joins && !INDETERMINATE.contains(code) && !unanswered =>
            {
                self.answer(asked.end)?
            }
            Some(Exchange::Answered { answer: Ok(_), .. }) if !unanswered => self.answer(asked.end)?,
            _ => Known::Nothing(self.producer_after(place, asked.request)),
        })
    }

    fn answer(&self, place: usize) -> Option<Known<'h>> {
        match self.exchanges.get(place)? {
            Exchange::Answered { answer, .. } => Some(Known::Answer(answer)),
            _ => None,
        }
    }

    /// Whether a write of the same transactional id and of a later epoch, of whichever producer, was under way at the same time:
    /// Kafka asks for both together and refuses the earlier one (`AddPartitionsToTxnManager.addTxnData`), true or forged.
    fn is_overtaken(&self, place: usize, asked: &Asked<'_>) -> bool {
        let Some((txn, epoch)) = writes(asked.request) else { return false };
        let until = asked.end.min(self.asked.len());
        (self.asked[..until].iter().flatten())
            .filter(|other| other.end > place)
            .filter_map(|other| writes(other.request))
            .any(|(other, later)| other == txn && later > epoch)
    }

    /// The producer id that a lost request may have given to a transactional id: the next one that answers tell of, unless they
    /// tell of its beginning too; else one that nobody has. Asked again by the same session, a broker tells of the same
    /// beginning again, whichever request was the first.
    fn producer_after(&self, place: usize, request: &Request) -> i64 {
        let nobody = -(place as i64) - 2;
        let (Request::InitProducer { txn: Some(txn), .. } | Request::EndTxn { txn, .. }) = request
        else {
            return nobody;
        };
        let by = asks_as(request);
        let begun = |session: &Session| {
            let mut told = self.sessions_told(*txn, 0);
            told.any(|(asked, other)| {
                other.producer == session.producer
                    && other.epoch == 0
                    && (by.is_none() || asks_as(asked) != by)
            })
        };
        let mut later = self.sessions_told(*txn, place + 1).map(|(_, session)| session);
        later.find(|session| !begun(session)).map_or(nobody, |session| session.producer)
    }

    /// The sessions of a transactional id that answers tell from there on, each with its request.
    fn sessions_told(
        &self,
        txn: TxnId,
        from: usize,
    ) -> impl Iterator<Item = (&'h Request, Session)> {
        self.exchanges.iter().skip(from).filter_map(move |exchange| match exchange {
            Exchange::Answered { of, answer } => {
                let request = self.asked(*of)?.request;
                Some((request, tells_session(txn, request, answer)?))
            }
            _ => None,
        })
    }
}

/// The session that a request names as its own, which asks for the next one.
fn asks_as(request: &Request) -> Option<Session> {
    match request {
        Request::InitProducer { expected, .. } => *expected,
        Request::EndTxn { session, .. } => Some(*session),
        _ => None,
    }
}

/// Which session of that transactional id an answer tells.
fn tells_session(txn: TxnId, request: &Request, answer: &Answer) -> Option<Session> {
    match (request, answer) {
        (Request::InitProducer { txn: Some(other), .. }, Ok(Response::Producer(session)))
        | (Request::EndTxn { txn: other, .. }, Ok(Response::Ended(session)))
            if *other == txn =>
        {
            Some(*session)
        }
        _ => None,
    }
}

/// The transactional id of a transactional write, and the epoch that it claims.
fn writes(request: &Request) -> Option<(TxnId, i16)> {
    let session = match request {
        Request::Produce { batch, .. } | Request::Malformed { batch, .. } => batch.session?,
        Request::SaveInTxn { session, .. } => *session,
        _ => return None,
    };
    Some((request.txn()?, session.epoch))
}
