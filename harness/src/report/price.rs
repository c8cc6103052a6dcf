//! What guarantees cost, on a terminal: tables of kinds, then what the figures mean, then how they came about.

use onceness_adapters::price::Kind;
use onceness_adapters::stock::price::{ABORTED_EVERY, READ_IN_TRANSACTIONS_OF};

use super::style::{BAD, DIM, GOOD, HEAD, NOTE, count, paint, thousands};
use crate::price::{
    Latency, Outcome, PriceEnded, Prices, Quartiles, ROUNDS_MIN, Table, Throughput, What,
};

/// How wide the names of kinds are.
const NAME: usize = 19;

/// The whole report.
pub fn render(prices: &Prices) -> String {
    let mut text = String::new();
    for consumes in [false, true] {
        for table in prices.latencies.iter().filter(|table| table.what.consumes() == consumes) {
            text += &latencies(table);
        }
        for table in prices.throughputs.iter().filter(|table| table.what.consumes() == consumes) {
            text += &throughputs(table);
        }
    }
    for note in notes(prices) {
        text += &paint(DIM, format!("{note}\n"));
    }
    text += &troubles(prices);
    text += &verdict(prices);
    text
}

/// The name of a kind.
pub fn name(kind: Kind) -> String {
    match kind {
        Kind::AtMostOnce => "at-most-once".to_owned(),
        Kind::AtLeastOnce => "at-least-once".to_owned(),
        Kind::Idempotent => "idempotent".to_owned(),
        Kind::Transactional(records) => format!("transactional-{records}"),
        Kind::ReadUncommitted => "read_uncommitted".to_owned(),
        Kind::ReadCommitted => "read_committed".to_owned(),
    }
}

/// What a table shows, in words.
pub fn title(what: What) -> &'static str {
    match what {
        What::ProduceLatency => "producing: ms from handing a record over until it is final",
        What::ProduceThroughput => {
            "producing: records a second, as many under way as the client takes"
        }
        What::ReadLatencySinceSent => {
            "consuming: ms from handing a record over to its producer until it is read"
        }
        What::ReadLatency => "consuming: ms from a record being final until it is read",
        What::DrainThroughput => "consuming: records a second, from a log that is there",
    }
}

/// What the figures mean and how they came about, one sentence or two each.
pub fn notes(prices: &Prices) -> Vec<String> {
    let load = prices.options.load;
    vec![
        "price: the time that a record takes over that of the cheapest kind in the same round; the median of the rounds, \
         with quartiles. That of p90, p99 and max is of all records together. None where the cheapest is no wait at all."
            .to_owned(),
        "at-most-once: acks=0, no retries. Nothing is acknowledged, so its latency is the time until the client has \
         handed the record over to the socket, no more; what its throughput counts was found in the log."
            .to_owned(),
        "at-least-once: acks=all with retries, without idempotence. idempotent: final when acknowledged, as well. \
         transactional-N: N records each; all are final when the commit is acknowledged, so each waits for the others. \
         All deliveries are awaited before the commit."
            .to_owned(),
        format!(
            "consuming: a transactional producer writes {READ_IN_TRANSACTIONS_OF} records a transaction. To \
             read_uncommitted a record is final when it is acknowledged, to read_committed when its transaction is \
             committed; one that was read before counts as 0. Of the log that is drained one transaction in \
             {ABORTED_EVERY} is aborted: read_uncommitted is given those records too."
        ),
        format!(
            "records of {} bytes, linger {} ms, all else as librdkafka has it; one partition, one client at a time.",
            thousands(load.record_bytes as u64),
            load.linger.as_millis()
        ),
        format!(
            "{} of turns of {} ms in shuffled order; {} of warm-up before that, not counted.",
            count(prices.rounds, "round"),
            prices.turn.as_millis(),
            count(prices.warm_up, "round"),
        ),
    ]
}

/// Why nothing can be concluded, the weightiest reason alone.
pub fn why_inconclusive(prices: &Prices) -> &'static str {
    match (prices.ended, prices.is_measured()) {
        (PriceEnded::TargetGone, _) => "the target stopped answering",
        (PriceEnded::Interrupted, false) => "it was interrupted before there was enough to tell",
        (_, false) => "too few rounds; give it more time",
        (_, true) => "not everything could be written or cleaned up",
    }
}

fn latencies(table: &Table<Latency>) -> String {
    let mut text = head(
        table.what,
        &format!(
            "{:>9} {:>9} {:>9} {:>9}   {:22} {:>7} {:>7} {:>7} {:>9}",
            "p50", "p90", "p99", "max", "price of p50", "p90", "p99", "max", "records"
        ),
    );
    for row in &table.rows {
        text += &line(row.kind, &row.outcome, |one| {
            format!(
                "{:>9} {:>9} {:>9} {:>9}   {:22} {:>7} {:>7} {:>7} {:>9}{}",
                ms(one.p50),
                ms(one.p90),
                ms(one.p99),
                ms(one.max),
                price(one.price),
                ratio(one.price_p90),
                ratio(one.price_p99),
                ratio(one.price_max),
                thousands(one.records),
                lost(one.lost)
            )
        });
    }
    text + "\n"
}

fn throughputs(table: &Table<Throughput>) -> String {
    let mut text = head(
        table.what,
        &format!("{:>9} {:>19}   {:22} {:>9}", "median", "quartiles", "price", "records"),
    );
    for row in &table.rows {
        text += &line(row.kind, &row.outcome, |one| {
            let of = one.per_second;
            let whole = |rate: f64| thousands(rate.round() as u64);
            format!(
                "{:>9} {:>19}   {:22} {:>9}{}",
                whole(of.median),
                format!("{} to {}", whole(of.lower), whole(of.upper)),
                price(one.price),
                thousands(one.records),
                lost(one.lost)
            )
        });
    }
    text + "\n"
}

fn head(what: What, columns: &str) -> String {
    paint(HEAD, format!("{}\n{:NAME$}{columns}", title(what), "")) + "\n"
}

fn line<F>(kind: Kind, outcome: &Outcome<F>, figures: impl Fn(&F) -> String) -> String {
    let told = match outcome {
        Outcome::Measured(one) => figures(one),
        Outcome::TooLittle(rounds) => {
            let rounds = count(*rounds, "round");
            paint(NOTE, format!("  too little: {rounds} of {ROUNDS_MIN} at least"))
        }
        Outcome::Unsupported(why) => paint(DIM, format!("  unsupported: {why}")),
    };
    format!("{:NAME$}{told}\n", name(kind))
}

fn troubles(prices: &Prices) -> String {
    let mut text = String::new();
    if prices.failed > 0 {
        text += &format!("{} failed", count(prices.failed, "turn"));
    }
    if let Some(error) = &prices.last_error {
        text += &format!("{}the last time: {error}\n", if text.is_empty() { "" } else { "; " });
    }
    for trouble in &prices.troubles {
        text += &format!("{trouble}\n");
    }
    match text.is_empty() {
        true => text,
        false => format!("\n{}", paint(NOTE, text)),
    }
}

fn verdict(prices: &Prices) -> String {
    let cut = match prices.ended {
        PriceEnded::Interrupted => paint(NOTE, " (interrupted)"),
        PriceEnded::TargetGone => paint(NOTE, " (the target stopped answering)"),
        PriceEnded::Complete => String::new(),
    };
    let sentence = match prices.exit().code() {
        0 => paint(GOOD, "measured"),
        _ if prices.ended == PriceEnded::TargetGone => {
            paint(BAD, format!("inconclusive: {}", why_inconclusive(prices)))
        }
        _ => paint(NOTE, format!("inconclusive: {}", why_inconclusive(prices))),
    };
    let (driven, seed, seconds) = (&prices.driven, prices.options.load.seed, prices.seconds);
    format!(
        "\n{} on {driven}, seed {seed}, in {seconds:.1} s{cut}\n{sentence}\n",
        count(prices.rounds, "round")
    )
}

fn lost(records: u64) -> String {
    match records {
        0 => String::new(),
        some => paint(NOTE, format!(" and {} lost", thousands(some))),
    }
}

fn price(of: Quartiles) -> String {
    // The cheapest is what the others are measured by.
    match of.lower == 1.0 && of.upper == 1.0 {
        true => "1".to_owned(),
        false if of.median.is_nan() => "-".to_owned(),
        false => format!("{} ({} to {})", ratio(of.median), ratio(of.lower), ratio(of.upper)),
    }
}

/// Three digits that count, but no fewer than there are.
fn ratio(of: f64) -> String {
    match of {
        1.0 => "1".to_owned(),
        small if small < 10.0 => format!("{small:.2}"),
        medium if medium < 100.0 => format!("{medium:.1}"),
        large if large.is_finite() => thousands(large.round() as u64),
        _ => "-".to_owned(),
    }
}

fn ms(of: f64) -> String {
    match of {
        small if small < 10.0 => format!("{small:.3}"),
        medium if medium < 100.0 => format!("{medium:.2}"),
        large => format!("{large:.1}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use anstream::adapter::strip_str;
    use expect_test::expect;
    use onceness_adapters::price::Load;

    use super::*;
    use crate::price::{PriceOptions, Row};

    /// Fixed numbers of every form that there is.
    pub(in super::super) fn prices() -> Prices {
        let quartiles =
            |median: f64| Quartiles { lower: median * 0.9, median, upper: median * 1.2 };
        let own = Quartiles { lower: 1.0, median: 1.0, upper: 1.0 };
        let latency = |p50: f64, price: f64| {
            Outcome::Measured(Latency {
                p50,
                p90: 2.0 * p50,
                p99: 8.0 * p50,
                max: 100.0 * p50,
                price: if price == 1.0 { own } else { quartiles(price) },
                price_p90: price,
                price_p99: price * 1.5,
                price_max: price * 3.0,
                records: 12_345,
                lost: 0,
                rounds: 10,
            })
        };
        let throughput = |rate: f64, price: f64, lost| {
            Outcome::Measured(Throughput {
                per_second: quartiles(rate),
                price: if price == 1.0 { own } else { quartiles(price) },
                records: 123_456,
                lost,
                rounds: 10,
            })
        };
        let refused = "Produce to localhost:9092: not supported".to_owned();
        Prices {
            options: PriceOptions {
                target: "kafka://localhost:9092".to_owned(),
                time: Duration::from_secs(30),
                load: Load { record_bytes: 1_024, linger: Duration::from_millis(5), seed: 7 },
            },
            driven: "kafka://localhost:9092 by librdkafka 2.12.1".to_owned(),
            turn: Duration::from_millis(138),
            warm_up: 2,
            rounds: 10,
            seconds: 30.25,
            ended: PriceEnded::Complete,
            latencies: vec![
                Table {
                    what: What::ProduceLatency,
                    rows: vec![
                        row(Kind::AtMostOnce, latency(0.0214, 1.0)),
                        row(Kind::AtLeastOnce, latency(0.5, 23.4)),
                        row(Kind::Transactional(1000), latency(37.8, 1766.4)),
                    ],
                },
                Table {
                    what: What::ReadLatency,
                    rows: vec![
                        row(Kind::ReadUncommitted, Outcome::TooLittle(2)),
                        row(Kind::ReadCommitted, Outcome::Unsupported(refused.clone())),
                    ],
                },
            ],
            throughputs: vec![Table {
                what: What::ProduceThroughput,
                rows: vec![
                    row(Kind::AtMostOnce, throughput(151_234.5, 1.0, 17)),
                    row(Kind::Transactional(1), throughput(28.4, 5_325.0, 0)),
                    row(Kind::Transactional(10), Outcome::Unsupported(refused)),
                ],
            }],
            failed: 1,
            last_error: Some("Produce to localhost:9092: timed out".to_owned()),
            troubles: Vec::new(),
        }
    }

    fn row<F>(kind: Kind, outcome: Outcome<F>) -> Row<F> {
        Row { kind, outcome }
    }

    #[test]
    fn the_table_says_what_each_guarantee_costs() {
        expect![[r#"
            producing: ms from handing a record over until it is final
                                     p50       p90       p99       max   price of p50               p90     p99     max   records
            at-most-once           0.021     0.043     0.171     2.140   1                            1    1.50    3.00    12,345
            at-least-once          0.500     1.000     4.000     50.00   23.4 (21.1 to 28.1)       23.4    35.1    70.2    12,345
            transactional-1000     37.80     75.60     302.4    3780.0   1,766 (1,590 to 2,120)   1,766   2,650   5,299    12,345

            producing: records a second, as many under way as the client takes
                                  median           quartiles   price                    records
            at-most-once         151,235  136,111 to 181,481   1                        123,456 and 17 lost
            transactional-1           28            26 to 34   5,325 (4,793 to 6,390)   123,456
            transactional-10     unsupported: Produce to localhost:9092: not supported

            consuming: ms from a record being final until it is read
                                     p50       p90       p99       max   price of p50               p90     p99     max   records
            read_uncommitted     too little: 2 rounds of 3 at least
            read_committed       unsupported: Produce to localhost:9092: not supported

            price: the time that a record takes over that of the cheapest kind in the same round; the median of the rounds, with quartiles. That of p90, p99 and max is of all records together. None where the cheapest is no wait at all.
            at-most-once: acks=0, no retries. Nothing is acknowledged, so its latency is the time until the client has handed the record over to the socket, no more; what its throughput counts was found in the log.
            at-least-once: acks=all with retries, without idempotence. idempotent: final when acknowledged, as well. transactional-N: N records each; all are final when the commit is acknowledged, so each waits for the others. All deliveries are awaited before the commit.
            consuming: a transactional producer writes 10 records a transaction. To read_uncommitted a record is final when it is acknowledged, to read_committed when its transaction is committed; one that was read before counts as 0. Of the log that is drained one transaction in 4 is aborted: read_uncommitted is given those records too.
            records of 1,024 bytes, linger 5 ms, all else as librdkafka has it; one partition, one client at a time.
            10 rounds of turns of 138 ms in shuffled order; 2 rounds of warm-up before that, not counted.

            1 turn failed; the last time: Produce to localhost:9092: timed out

            10 rounds on kafka://localhost:9092 by librdkafka 2.12.1, seed 7, in 30.2 s
            inconclusive: too few rounds; give it more time
        "#]].assert_eq(&strip_str(&render(&prices())).to_string());
    }
}
