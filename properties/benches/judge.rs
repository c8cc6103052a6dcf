//! How long judging takes, and how much memory: a valid history of 800,000 calls and 4,000,000 record reads.
//!
//! Prints where the time goes and the process's peak of resident memory, the history included, before Criterion measures.

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use onceness_properties::{Facts, PROPERTIES, Verdict, judge};
use onceness_reference::history::{
    Call, Event, Fetched, HISTORY_VERSION, Header, History, Outcome, Record, Reply, Seen, Sequence,
};
use onceness_reference::ids::{ClientId, EventId, GroupId, Key, Partition, StepId, Tag, TxnId};
use onceness_reference::plan::{Client, Consumer, Delivery, Fate, Isolation, Protocol, Saving};

const PARTITIONS: usize = 8;
const READERS: u8 = 8;
const CALLS: usize = 800_000;

fn judging(criterion: &mut Criterion) {
    let case = Bench::history(40);
    let history = Bench::history(CALLS);
    let calls = history.events.iter().filter(|event| matches!(event, Event::Call { .. })).count();
    println!("{calls} calls, {} record reads, {} events", reads(&history), history.events.len());
    println!("peak memory with the history alone: {} MB", peak_memory_mb());
    for judgement in judge(&history) {
        let name = judgement.property.name;
        assert!(
            !matches!(judgement.verdict, Verdict::Violated(_)),
            "{name}: {:?}",
            judgement.verdict
        );
    }
    println!("peak memory with the history and its judgement: {} MB", peak_memory_mb());
    tell_where_time_goes(&history);
    let mut group = criterion.benchmark_group("history");
    group.sample_size(10);
    group.bench_function("judge", |bencher| bencher.iter(|| judge(black_box(&history))));
    group.bench_function("judge a case of 40 calls", |bencher| {
        bencher.iter(|| judge(black_box(&case)))
    });
    group.finish();
}

fn tell_where_time_goes(history: &History) {
    let facts = Facts::of(history);
    println!("{:>24} {:>8.1} ms", "everything", best(|| judge(history)));
    println!("{:>24} {:>8.1} ms", "facts", best(|| Facts::of(history)));
    for property in PROPERTIES {
        println!("{:>24} {:>8.1} ms", property.name, best(|| property.find(&facts)));
    }
}

/// The least time of several, in milliseconds of this thread's own where the operating system tells them.
fn best<T>(mut what: impl FnMut() -> T) -> f64 {
    let one = || {
        let start = own_time().unwrap_or(0);
        let wall = Instant::now();
        let result = black_box(what());
        let own = own_time().map(|end| (end - start) as f64 / 1e6);
        drop(result);
        own.unwrap_or(wall.elapsed().as_secs_f64() * 1e3)
    };
    std::iter::repeat_with(one).take(7).fold(f64::INFINITY, f64::min)
}

/// How long this thread has run so far, in nanoseconds.
fn own_time() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    status.split_whitespace().next()?.parse().ok()
}

fn reads(history: &History) -> usize {
    let of_event = |event: &Event| match event {
        Event::Read { records, .. } => records.len(),
        Event::Return { outcome: Outcome::Done(Reply::Polled(polled)), .. } => {
            polled.iter().map(|fetched| fetched.records.len()).sum()
        }
        _ => 0,
    };
    history.events.iter().map(of_event).sum()
}

/// The peak of resident memory, where the operating system tells it.
fn peak_memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}

/// A log, and whether read_committed shows each offset. None: a marker.
type Log = Vec<Option<(Tag, bool)>>;

/// Writes a history as it would be if a broker did all that it promises.
struct Bench {
    events: Vec<Event>,
    logs: Vec<Log>,
    tags: u32,
    calls: usize,
    dice: fastrand::Rng,
    sequences: Vec<[i32; PARTITIONS]>,
    positions: Vec<[usize; PARTITIONS]>,
    pending: Vec<Vec<Tag>>,
    turns: Vec<usize>,
}

impl Bench {
    fn history(calls: usize) -> History {
        let mut bench = Bench {
            // Neither the events nor the log of a partition grow beyond this, so nothing is copied to a larger place.
            events: Vec::with_capacity(calls * 21 / 10),
            logs: vec![Log::new(); PARTITIONS],
            tags: 0,
            calls: 0,
            dice: fastrand::Rng::with_seed(1),
            sequences: vec![[0; PARTITIONS]; 8],
            positions: vec![[0; PARTITIONS]; usize::from(READERS)],
            pending: vec![Vec::new(); usize::from(READERS)],
            turns: vec![0; usize::from(READERS)],
        };
        let clients = clients();
        for client in &clients {
            bench.open(client);
        }
        let mut tick = 0;
        while bench.calls < calls {
            bench.tick(tick, &clients);
            tick += 1;
        }
        bench.finish(&clients);
        History {
            header: Header {
                version: HISTORY_VERSION,
                target: "bench".to_owned(),
                partitions: PARTITIONS as u8,
                clients,
            },
            events: bench.events,
            exchanges: Vec::new(),
        }
    }

    fn call(&mut self, client: ClientId, call: Call, outcome: Outcome) {
        let of = EventId(self.events.len() as u32);
        let step = StepId(self.calls as u32);
        self.events.push(Event::Call { step, client, call });
        self.events.push(Event::Return { of, outcome });
        self.calls += 1;
    }

    fn open(&mut self, client: &Client) {
        let inputs = client.consumer.iter().flat_map(|consumer| &consumer.inputs);
        let opened = Reply::Opened {
            session: client.delivery.map(|_| (i64::from(client.id.0), 0)),
            positions: inputs.map(|partition| (*partition, None)).collect(),
        };
        self.call(client.id, Call::Open, Outcome::Done(opened));
    }

    /// Two producers write, one transaction comes and goes, every reader reads on.
    fn tick(&mut self, tick: usize, clients: &[Client]) {
        self.send(&clients[tick % 4], true);
        if tick.is_multiple_of(4) {
            self.transaction(&clients[4 + tick / 4 % 2], !tick.is_multiple_of(40));
        }
        for reader in 0..usize::from(READERS) {
            let client = &clients[6 + reader];
            if (tick + reader).is_multiple_of(3) {
                self.poll(client, reader);
            }
            if reader < 2 && (tick + reader) % 24 == 12 {
                self.process_and_save(client, reader);
            }
        }
    }

    fn send(&mut self, client: &Client, committed: bool) {
        let partition = self.dice.usize(0..PARTITIONS);
        let count = 1 + u32::from(self.dice.u8(0..100) < 57);
        let base = self.logs[partition].len() as i64;
        let records = (self.tags..self.tags + count).map(|tag| Record {
            tag: Tag(tag),
            key: Key(tag % 16),
            from: None,
        });
        let records: Vec<Record> = records.collect();
        self.logs[partition].extend(records.iter().map(|record| Some((record.tag, committed))));
        self.tags += count;
        let next = &mut self.sequences[usize::from(client.id.0)][partition];
        let sequence = Sequence { producer: i64::from(client.id.0), epoch: 0, first: *next };
        *next += count as i32;
        let call = Call::Send {
            partition: Partition(partition as u32),
            records,
            sequence: Some(sequence),
        };
        let base = Some(base);
        if client.delivery == Some(Delivery::AtMostOnce) {
            self.call(client.id, call, Outcome::Unknown);
            return;
        }
        let of = EventId(self.events.len() as u32);
        self.call(client.id, call, Outcome::Done(Reply::Appended { base }));
        // One answer in fifty was lost, and the resend acknowledged again.
        if self.tags % 100 < 2 {
            let returned = self.events.pop();
            for fate in [Fate::ReplyLost, Fate::Delivered] {
                let outcome = Outcome::Done(Reply::Appended { base });
                self.events.push(Event::Answer { of, preparation: false, fate, outcome });
            }
            self.events.extend(returned);
        }
    }

    fn transaction(&mut self, client: &Client, commits: bool) {
        self.call(client.id, Call::Begin, Outcome::Done(Reply::Nothing));
        for _ in 0..2 {
            self.send(client, commits);
        }
        let end = if commits { Call::Commit } else { Call::Abort };
        self.call(client.id, end, Outcome::Done(Reply::Nothing));
        self.logs.iter_mut().for_each(|log| log.push(None));
    }

    fn poll(&mut self, client: &Client, reader: usize) {
        let Some(consumer) = &client.consumer else { return };
        // One partition after the other, as consumers do.
        let partition = self.turns[reader] % PARTITIONS;
        self.turns[reader] += 1;
        let log = &self.logs[partition];
        let from = std::mem::replace(&mut self.positions[reader][partition], log.len());
        let new = log.iter().enumerate().skip(from);
        let for_reader = |shown: bool| shown || consumer.isolation == Isolation::ReadUncommitted;
        let shown = new.filter_map(|(offset, entry)| {
            entry.filter(|(_, shown)| for_reader(*shown)).map(|(tag, _)| (offset, tag))
        });
        let mut records = Vec::with_capacity(shown.clone().count());
        records.extend(shown.map(|(offset, tag)| Seen { offset: offset as i64, tag: Some(tag) }));
        self.pending[reader].extend(records.iter().filter_map(|seen| seen.tag));
        let polled = vec![Fetched {
            partition: Partition(partition as u32),
            from: from as i64,
            to: log.len() as i64,
            records,
        }];
        if reader >= 2 {
            self.pending[reader].clear();
        }
        self.call(client.id, Call::Poll, Outcome::Done(Reply::Polled(polled)));
    }

    fn process_and_save(&mut self, client: &Client, reader: usize) {
        let mut records = std::mem::take(&mut self.pending[reader]);
        records.shrink_to_fit();
        self.call(client.id, Call::Process { records }, Outcome::Done(Reply::Nothing));
        let positions = self.positions[reader].iter().enumerate();
        let call = Call::Save {
            group: GroupId(client.id.0.into()),
            positions: positions
                .map(|(partition, to)| (Partition(partition as u32), *to as i64))
                .collect(),
            in_transaction: false,
        };
        self.call(client.id, call, Outcome::Done(Reply::Nothing));
    }

    fn finish(&mut self, clients: &[Client]) {
        // Everybody reads to the end.
        for reader in 0..usize::from(READERS) {
            for _ in 0..PARTITIONS {
                self.poll(&clients[6 + reader], reader);
            }
        }
        for reader in 0..2 {
            self.process_and_save(&clients[6 + reader], reader);
        }
        self.events.push(Event::Healed);
        for (partition, log) in self.logs.iter().enumerate() {
            for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
                let shown = |entry: &Option<(Tag, bool)>| {
                    entry.filter(|(_, shown)| isolation == Isolation::ReadUncommitted || *shown)
                };
                let seen = log.iter().enumerate().filter_map(|(offset, entry)| {
                    let (tag, _) = shown(entry)?;
                    Some(Seen { offset: offset as i64, tag: Some(tag) })
                });
                let mut records = Vec::with_capacity(seen.clone().count());
                records.extend(seen);
                self.events.push(Event::Read {
                    partition: Partition(partition as u32),
                    isolation,
                    high_watermark: log.len() as i64,
                    last_stable: Some(log.len() as i64),
                    records,
                });
            }
        }
        for reader in 0..2 {
            for (partition, to) in self.positions[reader].iter().enumerate() {
                self.events.push(Event::Committed {
                    group: GroupId(6 + reader as u32),
                    partition: Partition(partition as u32),
                    offset: Some(*to as i64),
                });
            }
        }
    }
}

/// Four producers without transactions, two with, and eight readers of everything.
fn clients() -> Vec<Client> {
    let transactional = |txn| Delivery::Transactional {
        txn: TxnId(txn),
        protocol: if txn == 0 { Protocol::Tv1 } else { Protocol::Tv2 },
    };
    let producers = [
        Delivery::Idempotent,
        Delivery::AtLeastOnce,
        Delivery::Idempotent,
        Delivery::AtMostOnce,
        transactional(0),
        transactional(1),
    ];
    let producers = producers.into_iter().enumerate().map(|(id, delivery)| Client {
        id: ClientId(id as u8),
        delivery: Some(delivery),
        consumer: None,
    });
    let readers = (0..READERS).map(|reader| Client {
        id: ClientId(6 + reader),
        delivery: None,
        consumer: Some(Consumer {
            group: GroupId(6 + u32::from(reader)),
            member: false,
            shared: false,
            inputs: (0..PARTITIONS as u32).map(Partition).collect(),
            isolation: if reader % 2 == 0 {
                Isolation::ReadCommitted
            } else {
                Isolation::ReadUncommitted
            },
            saving: if reader == 1 { Saving::BeforeProcessing } else { Saving::AfterProcessing },
        }),
    });
    producers.chain(readers).collect()
}

criterion_group!(benches, judging);
criterion_main!(benches);
