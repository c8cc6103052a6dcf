//! The model beside a real broker, in lockstep: the requests of forgers, one after another, are answered by both, and the
//! answers are compared. So the model earns its trust where no property looks.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::BoxFuture;
use onceness_reference::broker::Broker;
use onceness_reference::code::Code;
use onceness_reference::features::Features;
use onceness_reference::generate;
use onceness_reference::ids::Partition;
use onceness_reference::plan::{Fault, Isolation, Op, Plan, Round};
use onceness_reference::protocol::{Answer, Body, FetchReply, Member, Request, Response, Session};
use onceness_reference::rules::Rules;
use onceness_reference::wrongs::client::ClientWrongs;

use super::super::Kafka;
use super::super::way::Way;
use crate::Adapter;
use crate::codes::{Class, class};
use crate::run::run;
use crate::serve::Server;
use crate::transport::{Lane, TargetError, Transport};

/// What Kafka 4.1 calls the format of its metadata.
const METADATA_OF_4_1: i16 = 26;
/// What is visible of ended transactions may come a little later.
const LOOKS: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
async fn kafka_answers_forgers_as_the_model_does() {
    let address = std::env::var("ONCENESS_KAFKA").expect("set ONCENESS_KAFKA to HOST:PORT");
    let cases = std::env::var("ONCENESS_CASES").ok().and_then(|cases| cases.parse().ok());
    let kafka = Kafka::connect(&[address]).await.expect("a broker answers there");
    // The model is a Kafka since 4.1. Earlier ones fence a producer that starts again in its transaction, 4.0.0 does so twice and
    // takes any first sequence number, and 3.9 takes the next epoch for a part of the open transaction.
    let level = kafka.cluster.feature("metadata.version");
    if level.is_none_or(|level| level >= METADATA_OF_4_1) {
        agree(kafka, cases.unwrap_or(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_answers_forgers_as_the_model_does() {
    let server = Server::listen(Rules::default(), "127.0.0.1:0").await.expect("a free port");
    let kafka = Kafka::connect(&[server.address().to_string()]).await.expect("it answers");
    agree(kafka, 60).await;
}

async fn agree(kafka: Kafka, cases: usize) {
    let Features { tv1, tv2, members, forging, .. } = kafka.features();
    let features = Features { tv1, tv2, members, forging, ..Features::NONE };
    let mut differences = BTreeMap::new();
    for (seed, plan) in (0..).filter_map(|seed| plan_of_forgers(seed, features)).take(cases) {
        let way = kafka.way(None).await.expect("a room");
        let twin = Twin::new(way, &plan);
        run(&twin, &plan, String::new(), ClientWrongs::default())
            .await
            .expect("the broker answers");
        let state = twin.state.into_inner().expect("nobody panicked");
        if let Some(difference) = state.differences.into_iter().next() {
            let (what, told) = difference;
            differences.entry(what).or_insert_with(Vec::new).push(format!("seed {seed}: {told}"));
        }
    }
    kafka.clean().await.expect("topics can be deleted");
    let told = differences.iter().map(|(what, all)| {
        format!("{} x {what}\n  {}\n", all.len(), all[..all.len().min(3)].join("\n  "))
    });
    let told: String = told.collect();
    assert!(told.is_empty(), "{told}");
}

/// The forgers of a case alone, one step after another, with nothing befalling them.
fn plan_of_forgers(seed: u64, features: Features) -> Option<(u64, Plan)> {
    let (_, mut plan) = generate::plan(seed, features);
    let forgers = plan.forgers();
    plan.clients.retain(|client| forgers.contains(&client.id));
    let steps: Vec<_> =
        plan.steps().filter(|step| forgers.contains(&step.client)).cloned().collect();
    plan.rounds =
        steps.into_iter().map(|step| Round { faults: Vec::new(), steps: vec![step] }).collect();
    let forges = plan.steps().any(|step| matches!(step.op, Op::Forge(_)));
    forges.then_some((seed, plan))
}

/// A way whose requests the model is asked, too.
struct Twin {
    way: Way,
    partitions: u8,
    state: Mutex<State>,
}

struct State {
    model: Broker,
    /// What the model calls the producers and members of the broker.
    producers: BTreeMap<i64, i64>,
    members: BTreeMap<String, Member>,
    log: Vec<String>,
    differences: Vec<(String, String)>,
}

impl Twin {
    fn new(way: Way, plan: &Plan) -> Twin {
        let rules = Rules { markers_lag: false, ..Rules::default() };
        let state = State {
            model: Broker::new(rules, plan.partitions),
            producers: BTreeMap::new(),
            members: BTreeMap::new(),
            log: Vec::new(),
            differences: Vec::new(),
        };
        Twin { way, partitions: plan.partitions, state: Mutex::new(state) }
    }

    /// The model writes its markers at once, a broker a little later: until then a transaction can still be written to.
    async fn wait_for_markers(&self) -> Result<(), TargetError> {
        for partition in (0..self.partitions).map(|number| Partition(number.into())) {
            for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
                let request = Request::ListOffsets { partition, earliest: false, isolation };
                let model = self.state.lock().expect("nobody panicked").model.handle(&request);
                for _ in 0..LOOKS {
                    if self.way.call(Lane::Rig, &request).await? == model {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        }
        Ok(())
    }

    /// The answer when it is no longer "not now". Who waits for its own transaction waits for ever.
    async fn ask(&self, lane: Lane, request: &Request) -> Result<Answer, TargetError> {
        let for_itself = matches!(request, Request::Positions { .. });
        for _ in 0..LOOKS {
            let answer = self.way.call(lane, request).await?;
            match answer {
                Err(code) if class(request, code) == Class::Transient && !for_itself => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                answer => return Ok(answer),
            }
        }
        self.way.call(lane, request).await
    }
}

impl State {
    fn ask(&mut self, request: &Request) -> Answer {
        let request = self.translated(request);
        let mut answer = self.model.handle(&request);
        for _ in 0..3 {
            match answer {
                Err(code) if class(&request, code) == Class::Transient => {
                    answer = self.model.handle(&request)
                }
                _ => break,
            }
        }
        answer
    }

    fn translated(&self, request: &Request) -> Request {
        let mut request = request.clone();
        let session = |session: &mut Session| {
            session.producer =
                self.producers.get(&session.producer).copied().unwrap_or(session.producer);
        };
        let of_member = |member: &mut Option<Member>| {
            if let Some(member) = member
                && let Some(known) = self.members.get(&member.id)
            {
                member.id.clone_from(&known.id);
                if member.instance.is_some() {
                    member.instance.clone_from(&known.instance);
                }
            }
        };
        match &mut request {
            Request::InitProducer { expected, .. } => expected.iter_mut().for_each(session),
            Request::AddPartition { session: shown, .. }
            | Request::AddGroup { session: shown, .. }
            | Request::EndTxn { session: shown, .. } => session(shown),
            Request::Produce { batch, .. } | Request::Malformed { batch, .. } => {
                batch.session.iter_mut().for_each(session)
            }
            Request::SaveInTxn { session: shown, member, .. } => {
                session(shown);
                of_member(member);
            }
            Request::Save { member, .. } => of_member(member),
            _ => {}
        }
        request
    }

    fn learn(&mut self, real: &Answer, model: &Answer) {
        match (real, model) {
            (
                Ok(Response::Producer(real) | Response::Ended(real)),
                Ok(Response::Producer(model) | Response::Ended(model)),
            ) => _ = self.producers.insert(real.producer, model.producer),
            (Ok(Response::Joined(real)), Ok(Response::Joined(model))) => {
                self.members.insert(real.id.clone(), model.clone());
            }
            _ => {}
        }
    }

    fn same(&self, real: &Answer, model: &Answer) -> bool {
        match (real, model) {
            (Err(real), Err(model)) => known(*real) == known(*model),
            (
                Ok(Response::Producer(real) | Response::Ended(real)),
                Ok(Response::Producer(model) | Response::Ended(model)),
            ) => real.epoch == model.epoch,
            (Ok(Response::Joined(real)), Ok(Response::Joined(model))) => {
                real.generation == model.generation
            }
            (Ok(Response::Fetched(real)), Ok(Response::Fetched(model))) => {
                self.shape(real, true) == self.shape(model, false)
            }
            (real, model) => real == model,
        }
    }

    fn shape(&self, reply: &FetchReply, real: bool) -> String {
        let id = |producer: i64| {
            if real { self.producers.get(&producer).copied().unwrap_or(producer) } else { producer }
        };
        let batches = reply.batches.iter().map(|batch| match &batch.body {
            Body::Marker(ending) => format!("{}:{ending:?}", batch.base),
            Body::Records(records) => format!(
                "{records:?} {:?} {} {}",
                batch.session.map(|session| (id(session.producer), session.epoch)),
                batch.first_sequence,
                batch.transactional
            ),
        });
        let mut aborted: Vec<_> =
            reply.aborted.iter().map(|(producer, first)| (id(*producer), *first)).collect();
        aborted.sort_unstable();
        format!(
            "{} {} {aborted:?} {:?}",
            reply.high_watermark,
            reply.last_stable,
            batches.collect::<Vec<_>>()
        )
    }
}

/// Clients of newer versions hear of a partition outside of the transaction in a word of its own (KIP-890).
fn known(code: Code) -> Code {
    match code {
        Code::TRANSACTION_ABORTABLE => Code::INVALID_TXN_STATE,
        code => code,
    }
}

impl Transport for Twin {
    async fn call(&self, lane: Lane, request: &Request) -> Result<Answer, TargetError> {
        let mut real = self.ask(lane, request).await?;
        let model = self.state.lock().expect("nobody panicked").ask(request);
        self.state.lock().expect("nobody panicked").learn(&real, &model);
        let reads = matches!(
            request,
            Request::Fetch { .. }
                | Request::FetchByte { .. }
                | Request::ListOffsets { .. }
                | Request::Positions { .. }
        );
        // While markers are on their way some ends are refused in other words than afterwards; a refusal changes nothing.
        let again =
            |real: &Answer| reads || real.is_err() && matches!(request, Request::EndTxn { .. });
        for _ in 0..LOOKS {
            if !again(&real) || self.state.lock().expect("nobody panicked").same(&real, &model) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            real = self.ask(lane, request).await?;
        }
        if real.is_ok() && matches!(request, Request::EndTxn { .. } | Request::InitProducer { .. })
        {
            self.wait_for_markers().await?;
        }
        let mut state = self.state.lock().expect("nobody panicked");
        state.log.push(format!("{request:?} -> {real:?}"));
        if !state.same(&real, &model) {
            let (real, model) = (format!("{real:?}"), format!("{model:?}"));
            let log = state.log.join("\n      ");
            let digits: &[char] = &['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];
            let short = |told: &str| {
                if told.starts_with("Err") {
                    told.to_owned()
                } else {
                    told[..told.len().min(60)].replace(digits, "")
                }
            };
            state.differences.push((
                format!("{}: {} / model {}", request.name(), short(&real), short(&model)),
                format!("{real}\n   / model {model}\n      {log}"),
            ));
        }
        Ok(real)
    }

    fn cut(&self, lane: Lane) {
        self.way.cut(lane);
    }

    async fn back_off(&self, retry: u32) -> bool {
        self.way.back_off(retry).await
    }

    async fn strike(&self, _: Fault, _: &(dyn Fn() + Sync)) -> Result<bool, TargetError> {
        Ok(false)
    }

    async fn overlap<'a>(&'a self, steps: Vec<BoxFuture<'a, ()>>) {
        self.way.overlap(steps).await;
    }
}
