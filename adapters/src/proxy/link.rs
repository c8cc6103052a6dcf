//! One connection of a client, and the one to a broker that is behind it: requests one way, answers the other.
//!
//! Whatever a client is told, it is told in the order of its requests: an answer in the broker's name and a cut wait for
//! the answers before them. After a request that costs the connection no further one is read, so a fate befalls the request
//! that it was meant for and no other.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::ApiKey;
use onceness_reference::plan::Fate;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::addresses::{self, Listeners};
use super::exchange::{CopyNumber, Exchange, Witness};
use super::frames::{COPY_MAX, Copy, Frame, Inbox, Outbox, Pace, Way};
use super::said::api_name;
use super::start::Start;
use super::{ConnectionId, Fault, HeldRequest, Sentence, Shared, busy};
use crate::wire::fields::Fields;

/// So many requests of one connection may be under way.
const UNDER_WAY_MAX: usize = 256;
/// Longer than any client waits for any answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);
/// A broker that puts a request off does so no sooner than it can: what the client sends meanwhile is under way by then.
const SAID_AFTER: Duration = Duration::from_millis(5);
/// How long a cut waits for the answers before it.
const CUT_WITHIN: Duration = Duration::from_secs(1);
/// How long what a client sent last may take after the client has gone.
const REST_WITHIN: Duration = Duration::from_secs(1);
/// How long a request on a connection of its own may take.
pub(super) const ALONE_WITHIN: Duration = Duration::from_secs(15);
const DIAL_WITHIN: Duration = Duration::from_secs(10);
/// A fate that needs the whole request befalls none that is larger.
const KEPT_MAX: usize = 16 << 20;

/// A connection of a client.
pub(super) struct Link {
    pub(super) shared: Arc<Shared>,
    pub(super) id: ConnectionId,
    /// Where the broker is; several addresses only of the cluster as a whole.
    pub(super) brokers: Arc<[String]>,
}

/// What a client waits for.
struct Awaited {
    api: i16,
    version: i16,
    correlation: i32,
    what: What,
}

enum What {
    /// The broker's answer.
    Answer(Option<Witness>),
    /// The same, once a second copy of the request has had one too.
    AnswerOfTwo(Witness, Bytes, Witness),
    /// The broker's answer, of which the client never hears.
    Lost(Witness),
    /// An answer in the broker's name.
    Said(Bytes, Witness),
    /// The end of the connection.
    Cut,
}

impl Link {
    /// Serves it until one side is gone.
    pub(super) async fn serve(&self, client: TcpStream) -> Result<(), Fault> {
        let host = client.local_addr().map_err(|cause| Fault(cause.to_string()))?.ip();
        let host = host.to_canonical().to_string();
        let (broker, address) = dial(&self.brokers).await?;
        // Small frames, each waited for. Where it cannot be set, it is only slower.
        let _ = client.set_nodelay(true);
        let pace = self.shared.pace();
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = broker.into_split();
        let (tell, told) = mpsc::channel(UNDER_WAY_MAX);
        let requests = Requests {
            link: self,
            client: Inbox::of_client(from_client, pace.clone()),
            broker: Outbox::to_broker(to_broker, &pace),
            address: address.clone(),
            awaited: tell,
        };
        let answers = Answers {
            link: self,
            host,
            broker: Inbox::of_broker(from_broker, pace.clone()),
            client: Outbox::to_client(to_client),
            address,
            awaited: told,
        };
        let (mut requests, mut answers) = (pin!(requests.pass()), pin!(answers.pass()));
        tokio::select! {
            ended = &mut answers => ended,
            ended = &mut requests => {
                match ended? {
                    // What was sent is to arrive, though nobody may wait for the answers: how they end is no trouble.
                    After::Gone(_open) => drop(timeout(REST_WITHIN, answers).await),
                    After::Cut(_open) => drop(timeout(CUT_WITHIN, answers).await),
                    After::Lost(_open) => answers.await?,
                }
                Ok(())
            }
        }
    }
}

/// Why no more requests are read. The way to the broker stays open until the answers are in.
enum After {
    /// The client closed the connection.
    Gone(Outbox),
    /// It is to be cut, after the answers before.
    Cut(Outbox),
    /// The same, once the answer that gets lost is here.
    Lost(Outbox),
}

/// What goes from the client to the broker.
struct Requests<'a> {
    link: &'a Link,
    client: Inbox,
    broker: Outbox,
    address: String,
    awaited: mpsc::Sender<Awaited>,
}

impl Requests<'_> {
    async fn pass(mut self) -> Result<After, Fault> {
        let Requests { link, client, broker, awaited, address } = &mut self;
        let mut on = Onward { link, broker, awaited, address };
        let after: fn(Outbox) -> After = loop {
            let Some(mut frame) = client.next().await? else {
                on.broker.close().await;
                break After::Gone;
            };
            let start = Start::of(&mut frame).await?;
            if !addresses::is_known(start.api, start.version) {
                let what = api_name(start.api);
                return Err(Fault(format!("{what} in version {} is not known", start.version)));
            }
            match link.shared.owner.decide(link.id, &start) {
                None => on.deliver(frame, &start, None).await?,
                Some(sentence) => {
                    if let Some(after) = on.meet(frame, start, sentence).await? {
                        break after;
                    }
                }
            }
        };
        Ok(after(self.broker))
    }
}

/// One request, from where it is decided what becomes of it.
struct Onward<'a> {
    link: &'a Link,
    broker: &'a mut Outbox,
    awaited: &'a mpsc::Sender<Awaited>,
    address: &'a str,
}

impl Onward<'_> {
    async fn deliver(
        &mut self,
        frame: Frame<'_>,
        start: &Start,
        witness: Option<Witness>,
    ) -> Result<(), Fault> {
        // Before it leaves, for its answer may be here at once.
        if start.answered {
            self.waits(start, What::Answer(witness)).await?;
        }
        frame.rest(&mut Way { to: Some(self.broker), copy: None }).await
    }

    /// A request meets its fate.
    async fn meet(
        &mut self,
        mut frame: Frame<'_>,
        start: Start,
        sentence: Sentence,
    ) -> Result<Option<fn(Outbox) -> After>, Fault> {
        let body = frame.peek(start.body + COPY_MAX).await?;
        let request = Bytes::copy_from_slice(&body[start.body.min(body.len())..]);
        let whole = frame.len() - super::frames::LENGTH - start.body == request.len();
        let exchange = Exchange {
            tag: sentence.tag,
            connection: self.link.id,
            start: start.clone(),
            request,
            whole,
            fate: sentence.fate,
            copy: CopyNumber::First,
            answer: None,
            trouble: None,
            held: None,
        };
        let mut witness = Witness::new(self.link.shared.owner.clone(), exchange);
        match sentence.fate {
            Fate::Delivered => self.deliver(frame, &start, Some(witness)).await?,
            Fate::RequestLost => return self.cut(&start, witness).await,
            Fate::ReplyLost => {
                if start.answered {
                    self.waits(&start, What::Lost(witness)).await?;
                    frame.rest(&mut Way { to: Some(self.broker), copy: None }).await?;
                    return Ok(Some(After::Lost));
                }
                frame.rest(&mut Way { to: Some(self.broker), copy: None }).await?;
                return self.cut(&start, witness).await;
            }
            // What cannot be kept is delivered, and told so.
            Fate::Repeated | Fate::Held { .. } | Fate::Busy if frame.len() > KEPT_MAX => {
                witness.exchange.fate = Fate::Delivered;
                self.deliver(frame, &start, Some(witness)).await?;
            }
            Fate::Repeated => {
                let copy = frame.take().await?;
                let second = witness.second();
                match start.answered {
                    true => {
                        let what = What::AnswerOfTwo(witness, copy.clone(), second);
                        self.waits(&start, what).await?;
                        self.broker.write(&copy).await?;
                    }
                    false => {
                        self.broker.write(&copy).await?;
                        let pace = self.link.shared.pace();
                        second.told(alone(self.address, &copy, &start, &pace).await);
                    }
                }
            }
            Fate::Held { .. } => {
                let frame = frame.take().await?;
                let address = self.address.to_owned();
                let exchange = (*witness.exchange).clone();
                let held = self.link.shared.hold(HeldRequest { address, frame, exchange });
                witness.exchange.held = Some(held);
                return self.cut(&start, witness).await;
            }
            Fate::Busy if !start.answered => {
                // Nobody waits for an answer: it just does not arrive.
                witness.exchange.fate = Fate::RequestLost;
                return self.cut(&start, witness).await;
            }
            Fate::Busy => match busy::answer(&start, &mut frame, sentence.code).await? {
                Some(answer) => {
                    frame.take().await?;
                    self.waits(&start, What::Said(answer, witness)).await?;
                }
                None => {
                    witness.exchange.fate = Fate::Delivered;
                    self.deliver(frame, &start, Some(witness)).await?;
                }
            },
        }
        Ok(None)
    }

    async fn cut(
        &mut self,
        start: &Start,
        witness: Witness,
    ) -> Result<Option<fn(Outbox) -> After>, Fault> {
        // Told before the client can know.
        drop(witness);
        self.waits(start, What::Cut).await?;
        Ok(Some(After::Cut))
    }

    async fn waits(&mut self, start: &Start, what: What) -> Result<(), Fault> {
        let &Start { api, version, correlation, .. } = start;
        let awaited = self.awaited.send(Awaited { api, version, correlation, what });
        match timeout(ANSWER_WITHIN, awaited).await {
            // Without anybody who reads answers, the connection is at its end.
            Ok(_) => Ok(()),
            Err(_) => {
                Err(Fault(format!("the broker owes more than {UNDER_WAY_MAX} answers for long")))
            }
        }
    }
}

/// What goes from the broker to the client.
struct Answers<'a> {
    link: &'a Link,
    /// Where the client reached us: there it will reach us again.
    host: String,
    broker: Inbox,
    client: Outbox,
    address: String,
    awaited: mpsc::Receiver<Awaited>,
}

impl Answers<'_> {
    async fn pass(mut self) -> Result<(), Fault> {
        while let Some(awaited) = self.next().await? {
            let asked = (awaited.api, awaited.version);
            match awaited.what {
                What::Cut => return Ok(()),
                What::Said(answer, mut witness) => {
                    tokio::time::sleep(SAID_AFTER).await;
                    witness.exchange.answer =
                        Some(body(asked, answer.slice(super::frames::LENGTH..)));
                    // Told before the client can know.
                    drop(witness);
                    self.client.write(&answer).await?;
                }
                What::Answer(witness) => {
                    self.relay(asked, awaited.correlation, witness, None).await?;
                }
                What::AnswerOfTwo(witness, copy, second) => {
                    let again = Some((copy, second));
                    self.relay(asked, awaited.correlation, Some(witness), again).await?;
                }
                What::Lost(mut witness) => {
                    let mut copy = Copy::default();
                    let frame = answer(&mut self.broker, awaited.correlation).await?;
                    frame.rest(&mut Way { to: None, copy: Some(&mut copy) }).await?;
                    witness.exchange.answer = Some(body(asked, copy.into_frame()));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What is to be answered next. None where both sides are done.
    async fn next(&mut self) -> Result<Option<Awaited>, Fault> {
        loop {
            if let Ok(awaited) = self.awaited.try_recv() {
                return Ok(Some(awaited));
            }
            if !self.broker.bytes().is_empty() {
                return Err(Fault("the broker speaks unasked".to_owned()));
            }
            tokio::select! {
                biased;
                awaited = self.awaited.recv() => return Ok(awaited),
                received = self.broker.unasked() => {
                    if received? == 0 {
                        return Ok(None);
                    }
                }
            }
        }
    }

    async fn relay(
        &mut self,
        asked: (i16, i16),
        correlation: i32,
        mut witness: Option<Witness>,
        again: Option<(Bytes, Witness)>,
    ) -> Result<(), Fault> {
        let frame = answer(&mut self.broker, correlation).await?;
        if let Some((copy, second)) = again {
            // The client learns nothing before both copies have arrived.
            let start = second.exchange.start.clone();
            second.told(alone(&self.address, &copy, &start, &self.link.shared.pace()).await);
        }
        let listeners = Doors { shared: &self.link.shared, host: &self.host };
        let mut copy = witness.is_some().then(Copy::default);
        let mut way = Way { to: Some(&mut self.client), copy: copy.as_mut() };
        addresses::relay(frame, asked, &listeners, &mut way).await?;
        if let (Some(witness), Some(copy)) = (&mut witness, copy) {
            witness.exchange.answer = Some(body(asked, copy.into_frame()));
        }
        Ok(())
    }
}

/// Where a client that reached us at one of our addresses finds brokers.
struct Doors<'a> {
    shared: &'a Arc<Shared>,
    host: &'a str,
}

impl Listeners for Doors<'_> {
    fn listener(&self, host: &str, port: u16) -> Result<(String, u16), Fault> {
        Ok((self.host.to_owned(), self.shared.door(host, port)?))
    }
}

/// The next answer, which must be the one that is due.
async fn answer(broker: &mut Inbox, correlation: i32) -> Result<Frame<'_>, Fault> {
    let late = |_| Fault(format!("the broker owes an answer for {ANSWER_WITHIN:?}"));
    let frame = timeout(ANSWER_WITHIN, broker.next()).await.map_err(late)??;
    let Some(mut frame) = frame else {
        return Err(Fault("the broker closes the connection without an answer".to_owned()));
    };
    let mut start = frame.peek(4).await?;
    match start.get_i32() {
        found if found == correlation => Ok(frame),
        found => Err(Fault(format!("the broker answers request {found}, due is {correlation}"))),
    }
}

/// What follows the header of an answer.
fn body((api, version): (i16, i16), frame: Bytes) -> Bytes {
    let whole = frame.clone();
    let Ok(key) = ApiKey::try_from(api) else { return frame };
    let flexible = key.response_header_version(version) >= 1;
    let mut fields = Fields::new(frame, flexible);
    match fields.i32().and_then(|_| fields.pass_tags()) {
        Ok(()) => whole.slice(whole.len() - fields.left()..),
        Err(_) => Bytes::new(),
    }
}

/// Sends a request on a connection of its own, and waits for its answer.
pub(super) async fn alone(
    address: &str,
    request: &Bytes,
    start: &Start,
    pace: &Pace,
) -> Result<Option<Bytes>, Fault> {
    let exchange = async {
        let (broker, _) = dial(&[address.to_owned()]).await?;
        let (from, to) = broker.into_split();
        // What was told to go goes, whatever is stalled.
        let pace = pace.going();
        let (mut from, mut to) =
            (Inbox::of_broker(from, pace.clone()), Outbox::to_broker(to, &pace));
        to.write(request).await?;
        if !start.answered {
            to.close().await;
            // A broker closes in return, once it has read everything.
            let _ = from.unasked().await;
            return Ok(None);
        }
        let mut copy = Copy::default();
        let frame = answer(&mut from, start.correlation).await?;
        frame.rest(&mut Way { to: None, copy: Some(&mut copy) }).await?;
        Ok(Some(body((start.api, start.version), copy.into_frame())))
    };
    let late = |_| Err(Fault(format!("no answer within {ALONE_WITHIN:?}")));
    timeout(ALONE_WITHIN, exchange).await.unwrap_or_else(late)
}

async fn dial(addresses: &[String]) -> Result<(TcpStream, String), Fault> {
    let mut fault = Fault("there is no broker's address".to_owned());
    for address in addresses {
        match timeout(DIAL_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // As for the client's side.
                let _ = stream.set_nodelay(true);
                return Ok((stream, address.clone()));
            }
            Ok(Err(cause)) => fault = Fault(format!("failed to reach {address}: {cause}")),
            Err(_) => fault = Fault(format!("failed to reach {address} within {DIAL_WITHIN:?}")),
        }
    }
    Err(fault)
}
