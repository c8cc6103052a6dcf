//! Runs a plan over a transport: round by round, then the epilogue, which never shrinks away.
//!
//! The epilogue heals (what was held arrives, a fresh instance of every transactional id ends what is open), and then fresh
//! readers read every partition from its start at both levels, and every group's committed offsets.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;
use onceness_reference::history::{Event, HISTORY_VERSION, Header, History, Seen};
use onceness_reference::ids::{GroupId, Offset, Partition, TxnId};
use onceness_reference::plan::{Client, Fault, Isolation, Plan, Step};
use onceness_reference::protocol::{Request, Response};
use onceness_reference::wrongs::client::{ClientWrongs, ConsumerWrongs};

use crate::ask::{Held, Known, Wire, outcome};
use crate::client::TestClient;
use crate::codes::{Class, class};
use crate::reading::Reader;
use crate::record::Recorder;
use crate::transport::{Lane, TargetError, Transport};
use crate::views::Views;
use crate::witness::Witness;

/// Runs a plan, by clients that are right or wrong so, and returns what was seen.
pub(crate) async fn run<T: Transport>(
    transport: &T,
    plan: &Plan,
    target: String,
    wrongs: ClientWrongs,
) -> Result<History, TargetError> {
    let recorder = Recorder::default();
    let transport = &Witness::new(transport, &recorder);
    let held = Mutex::new(Vec::new());
    let views = Views::default();
    // A broker that did not come back. The steps that overlap with its end are told all the same.
    let gone = Mutex::new(Ok(()));
    let forgers = plan.forgers();
    let client = |spec: &Client| {
        TestClient::new(wrongs.disguise(spec.clone()), forgers.contains(&spec.id), wrongs)
    };
    let mut clients: Vec<TestClient> = plan.clients.iter().map(client).collect();
    let mut lanes = 0;
    for (round, planned) in plan.rounds.iter().enumerate() {
        let (meanwhile, before): (Vec<Fault>, Vec<Fault>) =
            planned.faults.iter().partition(|fault| fault.overlaps());
        for fault in before {
            strike(transport, &recorder, fault).await?;
        }
        let wire = Wire { transport, recorder: &recorder, held: &held, views: &views, round };
        let mut overlapping: Vec<BoxFuture<'_, ()>> = Vec::new();
        for late in take_due(&held, round) {
            lanes += 1;
            overlapping.push(Box::pin(release(&wire, Lane::Held(lanes), late)));
        }
        for (client, spec) in clients.iter_mut().zip(&plan.clients) {
            let step: Option<&Step> = planned.steps.iter().find(|step| step.client == spec.id);
            if let Some(step) = step {
                let wire = &wire;
                overlapping.push(Box::pin(async move { client.perform(wire, step).await }));
            }
        }
        for fault in meanwhile {
            let (gone, recorder) = (&gone, &recorder);
            overlapping.push(Box::pin(async move {
                if let Err(error) = strike(transport, recorder, fault).await {
                    *gone.lock().unwrap_or_else(PoisonError::into_inner) = Err(error);
                }
            }));
        }
        transport.overlap(overlapping).await;
        gone.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
    }
    let round = plan.rounds.len();
    let epilogue = Wire { transport, recorder: &recorder, held: &held, views: &views, round };
    for late in take_due(&held, usize::MAX) {
        lanes += 1;
        release(&epilogue, Lane::Held(lanes), late).await;
    }
    recorder.record(Event::Healed);
    let left = AtomicU32::new(SPELLS);
    for txn in clients.iter().filter_map(TestClient::txn).collect::<BTreeSet<TxnId>>() {
        settle_transactions(&epilogue, txn, &left).await?;
    }
    for partition in (0..u32::from(plan.partitions)).map(Partition) {
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            read_all(&epilogue, partition, isolation, wrongs.consumer, &left).await?;
        }
    }
    for group in plan.groups() {
        read_positions(&epilogue, plan, group, &left).await?;
    }
    views.tell(&recorder);
    Ok(History {
        header: Header {
            version: HISTORY_VERSION,
            target,
            partitions: plan.partitions,
            clients: plan.clients.clone(),
        },
        events: recorder.take(),
        exchanges: transport.take(),
    })
}

async fn strike<T: Transport>(
    transport: &T,
    recorder: &Recorder,
    fault: Fault,
) -> Result<(), TargetError> {
    let struck = || {
        recorder.record(Event::Fault { fault, happened: true });
        let (partitions, groups) = transport.unmarked().unwrap_or_default();
        if !(partitions.is_empty() && groups.is_empty()) {
            let (partitions, groups) = (Vec::from_iter(partitions), Vec::from_iter(groups));
            recorder.record(Event::Unmarked { partitions, groups });
        }
    };
    if !transport.strike(fault, &struck).await? {
        recorder.record(Event::Fault { fault, happened: false });
    }
    Ok(())
}

fn take_due(held: &Mutex<Vec<Held>>, round: usize) -> Vec<Held> {
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    let (due, later) = held.drain(..).partition(|one| one.due <= round);
    *held = later;
    due
}

/// A held request arrives. Nobody waits for its answer any more but the rig.
async fn release<T: Transport>(wire: &Wire<'_, T>, lane: Lane, held: Held) {
    let answer = wire.transport.call(lane, &held.request).await;
    wire.record(Event::Answer {
        of: held.of,
        preparation: held.preparation,
        fate: held.fate,
        outcome: outcome(&held.request, &answer),
    });
    wire.transport.cut(lane);
}

/// A fresh instance aborts what is open and waits until what was ended is complete: the quiescence barrier.
async fn settle_transactions<T: Transport>(
    wire: &Wire<'_, T>,
    txn: TxnId,
    left: &AtomicU32,
) -> Result<(), TargetError> {
    let request = Request::InitProducer { txn: Some(txn), expected: None };
    match patiently(wire, &request, left).await? {
        Known::Done(_) => {}
        failed => {
            stuck(wire, format!("transactional id {txn} gets no new instance: {}", why(&failed)))
        }
    }
    Ok(())
}

/// Reads a partition from its start to its end, as a consumer of the same library does. Where transactions were open, the end
/// of what is stable may follow late.
async fn read_all<T: Transport>(
    wire: &Wire<'_, T>,
    partition: Partition,
    isolation: Isolation,
    wrongs: ConsumerWrongs,
    left: &AtomicU32,
) -> Result<(), TargetError> {
    let reader = Reader { lane: Lane::Rig, partition, isolation, wrongs };
    let mut records: Vec<Seen> = Vec::new();
    let mut position: Offset = 0;
    let mut patience = Patience { waits: 0, spells: 0, left };
    loop {
        let fetch = match reader.fetch(wire.transport, position, usize::MAX).await {
            Ok(Ok(fetch)) => fetch,
            Ok(Err(_)) if patience.wait(wire.transport).await => continue,
            Ok(Err(code)) => {
                let what = format!("partition {partition} cannot be read from {position}: {code}");
                stuck(wire, what);
                return Ok(());
            }
            Err(_) if patience.wait_for_an_answer(wire.transport).await => continue,
            Err(error) => return Err(error),
        };
        let taken = fetch.taken;
        records.extend(taken.seen());
        let moved = taken.next > position;
        position = taken.next;
        let stable = fetch.last_stable < 0 || fetch.last_stable >= fetch.high_watermark;
        let done = position >= fetch.high_watermark && stable;
        if done || (!moved && !patience.wait(wire.transport).await) {
            wire.record(Event::Read {
                partition,
                isolation,
                high_watermark: fetch.high_watermark,
                last_stable: (fetch.last_stable >= 0).then_some(fetch.last_stable),
                records,
            });
            return Ok(());
        }
    }
}

async fn read_positions<T: Transport>(
    wire: &Wire<'_, T>,
    plan: &Plan,
    group: GroupId,
    left: &AtomicU32,
) -> Result<(), TargetError> {
    let consumers = plan.clients.iter().filter_map(|client| client.consumer.as_ref());
    let inputs =
        consumers.filter(|consumer| consumer.group == group).flat_map(|consumer| &consumer.inputs);
    let mut partitions: Vec<Partition> = inputs.copied().collect();
    partitions.sort_unstable();
    partitions.dedup();
    match patiently(wire, &Request::Positions { group, partitions, stable: true }, left).await? {
        Known::Done(Response::Positions(positions)) => {
            for (partition, offset) in positions {
                wire.record(Event::Committed { group, partition, offset });
            }
        }
        failed => {
            stuck(wire, format!("the positions of group {group} cannot be read: {}", why(&failed)))
        }
    }
    Ok(())
}

/// Asks until there is a definite answer. A target that does not answer at all cannot be judged.
async fn patiently<T: Transport>(
    wire: &Wire<'_, T>,
    request: &Request,
    left: &AtomicU32,
) -> Result<Known, TargetError> {
    let mut patience = Patience { waits: 0, spells: 0, left };
    loop {
        let code = match wire.transport.call(Lane::Rig, request).await {
            Ok(Ok(response)) => return Ok(Known::Done(response)),
            Ok(Err(code)) => code,
            Err(_) if patience.wait_for_an_answer(wire.transport).await => continue,
            Err(error) => return Err(error),
        };
        let passes = matches!(class(request, code), Class::Transient | Class::Indeterminate);
        if !passes || !patience.wait(wire.transport).await {
            return Ok(Known::Refused(code, false));
        }
    }
}

/// How long the epilogue waits in all: this often a client's patience. A broker that had a bad moment is not stuck; one that
/// is stuck is so for everything, and is not waited for again and again.
const SPELLS: u32 = 6;

/// What is left of it, for one request.
struct Patience<'a> {
    waits: u32,
    spells: u32,
    /// For the whole epilogue.
    left: &'a AtomicU32,
}

impl Patience<'_> {
    /// Waits a while. False when there is no patience left.
    async fn wait<T: Transport>(&mut self, transport: &T) -> bool {
        self.waits += 1;
        if !transport.back_off(self.waits).await {
            self.waits = 0;
            self.spells += 1;
            let left = self.left.load(Ordering::Relaxed);
            self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        }
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Waits for a target that does not answer at all, no longer than a client would: it is probably gone.
    async fn wait_for_an_answer<T: Transport>(&mut self, transport: &T) -> bool {
        self.wait(transport).await && self.spells == 0
    }
}

fn stuck<T>(wire: &Wire<'_, T>, what: String) {
    wire.record(Event::Stuck { what });
}

fn why(known: &Known) -> String {
    match known {
        Known::Refused(code, _) => format!("it is refused with {code}"),
        _ => "its outcome is unknown".to_owned(),
    }
}
