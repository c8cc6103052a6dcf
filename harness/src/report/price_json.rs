//! What guarantees cost, as JSON: `price.json`, and what `--json` prints. Versioned; fields are added, never changed.

use serde::Serialize;
use serde_json::{Value, json};

use super::price::{name, notes, title, why_inconclusive};
use crate::price::{Latency, Outcome, PriceEnded, Prices, Quartiles, Table, Throughput, What};

/// The version of the report.
const PRICE_VERSION: u32 = 1;

/// The report as indented JSON.
pub fn render(prices: &Prices) -> String {
    let load = prices.options.load;
    let latencies = prices.latencies.iter().map(|one| Shown::of(one, "ms", latency));
    let throughputs = prices.throughputs.iter().map(|one| Shown::of(one, "records/s", throughput));
    let report = Report {
        version: PRICE_VERSION,
        tool: concat!("onceness ", env!("CARGO_PKG_VERSION")),
        target: &prices.options.target,
        driven: &prices.driven,
        seed: load.seed,
        record_bytes: load.record_bytes,
        linger_ms: load.linger.as_millis() as u64,
        seconds: prices.seconds,
        warm_up_rounds: prices.warm_up,
        rounds: prices.rounds,
        turn_ms: prices.turn.as_millis() as u64,
        ended: prices.ended,
        exit: prices.exit().code(),
        inconclusive: (prices.exit().code() != 0).then(|| why_inconclusive(prices)),
        tables: latencies.chain(throughputs).collect(),
        notes: notes(prices),
        failed_turns: prices.failed,
        last_error: prices.last_error.as_deref(),
        troubles: &prices.troubles,
    };
    // Plain structs with string keys always serialize.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    tool: &'static str,
    target: &'a str,
    driven: &'a str,
    seed: u64,
    record_bytes: usize,
    linger_ms: u64,
    seconds: f64,
    warm_up_rounds: u64,
    rounds: u64,
    turn_ms: u64,
    ended: PriceEnded,
    exit: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    inconclusive: Option<&'static str>,
    tables: Vec<Shown>,
    notes: Vec<String>,
    failed_turns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a str>,
    troubles: &'a [String],
}

#[derive(Serialize)]
struct Shown {
    what: What,
    title: &'static str,
    unit: &'static str,
    rows: Vec<Value>,
}

impl Shown {
    fn of<F>(table: &Table<F>, unit: &'static str, figures: impl Fn(&F) -> Value) -> Shown {
        let rows = table.rows.iter().map(|row| {
            let kind = name(row.kind);
            match &row.outcome {
                Outcome::Measured(one) => {
                    json!({ "kind": kind, "verdict": "measured", "figures": figures(one) })
                }
                Outcome::TooLittle(rounds) => {
                    json!({ "kind": kind, "verdict": "too_little", "rounds": rounds })
                }
                Outcome::Unsupported(reason) => {
                    json!({ "kind": kind, "verdict": "unsupported", "reason": reason })
                }
            }
        });
        Shown { what: table.what, title: title(table.what), unit, rows: rows.collect() }
    }
}

fn latency(one: &Latency) -> Value {
    json!({
        "p50": one.p50, "p90": one.p90, "p99": one.p99, "max": one.max,
        "price": quartiles(one.price),
        "price_p90": one.price_p90, "price_p99": one.price_p99, "price_max": one.price_max,
        "records": one.records, "lost": one.lost, "rounds": one.rounds,
    })
}

fn throughput(one: &Throughput) -> Value {
    json!({
        "per_second": quartiles(one.per_second),
        "price": quartiles(one.price),
        "records": one.records, "lost": one.lost, "rounds": one.rounds,
    })
}

fn quartiles(of: Quartiles) -> Value {
    json!({ "lower": of.lower, "median": of.median, "upper": of.upper })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    #[test]
    fn the_report_is_for_programs_too() {
        expect![[r#"
            {
              "version": 1,
              "tool": "onceness 0.1.0",
              "target": "kafka://localhost:9092",
              "driven": "kafka://localhost:9092 by librdkafka 2.12.1",
              "seed": 7,
              "record_bytes": 1024,
              "linger_ms": 5,
              "seconds": 30.25,
              "warm_up_rounds": 2,
              "rounds": 10,
              "turn_ms": 138,
              "ended": "complete",
              "exit": 3,
              "inconclusive": "too few rounds; give it more time",
              "tables": [
                {
                  "what": "produce_latency",
                  "title": "producing: ms from handing a record over until it is final",
                  "unit": "ms",
                  "rows": [
                    {
                      "figures": {
                        "lost": 0,
                        "max": 2.1399999999999997,
                        "p50": 0.0214,
                        "p90": 0.0428,
                        "p99": 0.1712,
                        "price": {
                          "lower": 1.0,
                          "median": 1.0,
                          "upper": 1.0
                        },
                        "price_max": 3.0,
                        "price_p90": 1.0,
                        "price_p99": 1.5,
                        "records": 12345,
                        "rounds": 10
                      },
                      "kind": "at-most-once",
                      "verdict": "measured"
                    },
                    {
                      "figures": {
                        "lost": 0,
                        "max": 50.0,
                        "p50": 0.5,
                        "p90": 1.0,
                        "p99": 4.0,
                        "price": {
                          "lower": 21.06,
                          "median": 23.4,
                          "upper": 28.08
                        },
                        "price_max": 70.19999999999999,
                        "price_p90": 23.4,
                        "price_p99": 35.099999999999994,
                        "records": 12345,
                        "rounds": 10
                      },
                      "kind": "at-least-once",
                      "verdict": "measured"
                    },
                    {
                      "figures": {
                        "lost": 0,
                        "max": 3779.9999999999995,
                        "p50": 37.8,
                        "p90": 75.6,
                        "p99": 302.4,
                        "price": {
                          "lower": 1589.7600000000002,
                          "median": 1766.4,
                          "upper": 2119.68
                        },
                        "price_max": 5299.200000000001,
                        "price_p90": 1766.4,
                        "price_p99": 2649.6000000000004,
                        "records": 12345,
                        "rounds": 10
                      },
                      "kind": "transactional-1000",
                      "verdict": "measured"
                    }
                  ]
                },
                {
                  "what": "read_latency",
                  "title": "consuming: ms from a record being final until it is read",
                  "unit": "ms",
                  "rows": [
                    {
                      "kind": "read_uncommitted",
                      "rounds": 2,
                      "verdict": "too_little"
                    },
                    {
                      "kind": "read_committed",
                      "reason": "Produce to localhost:9092: not supported",
                      "verdict": "unsupported"
                    }
                  ]
                },
                {
                  "what": "produce_throughput",
                  "title": "producing: records a second, as many under way as the client takes",
                  "unit": "records/s",
                  "rows": [
                    {
                      "figures": {
                        "lost": 17,
                        "per_second": {
                          "lower": 136111.05000000002,
                          "median": 151234.5,
                          "upper": 181481.4
                        },
                        "price": {
                          "lower": 1.0,
                          "median": 1.0,
                          "upper": 1.0
                        },
                        "records": 123456,
                        "rounds": 10
                      },
                      "kind": "at-most-once",
                      "verdict": "measured"
                    },
                    {
                      "figures": {
                        "lost": 0,
                        "per_second": {
                          "lower": 25.56,
                          "median": 28.4,
                          "upper": 34.08
                        },
                        "price": {
                          "lower": 4792.5,
                          "median": 5325.0,
                          "upper": 6390.0
                        },
                        "records": 123456,
                        "rounds": 10
                      },
                      "kind": "transactional-1",
                      "verdict": "measured"
                    },
                    {
                      "kind": "transactional-10",
                      "reason": "Produce to localhost:9092: not supported",
                      "verdict": "unsupported"
                    }
                  ]
                }
              ],
              "notes": [
                "price: the time that a record takes over that of the cheapest kind in the same round; the median of the rounds, with quartiles. That of p90, p99 and max is of all records together. None where the cheapest is no wait at all.",
                "at-most-once: acks=0, no retries. Nothing is acknowledged, so its latency is the time until the client has handed the record over to the socket, no more; what its throughput counts was found in the log.",
                "at-least-once: acks=all with retries, without idempotence. idempotent: final when acknowledged, as well. transactional-N: N records each; all are final when the commit is acknowledged, so each waits for the others. All deliveries are awaited before the commit.",
                "consuming: a transactional producer writes 10 records a transaction. To read_uncommitted a record is final when it is acknowledged, to read_committed when its transaction is committed; one that was read before counts as 0. Of the log that is drained one transaction in 4 is aborted: read_uncommitted is given those records too.",
                "records of 1,024 bytes, linger 5 ms, all else as librdkafka has it; one partition, one client at a time.",
                "10 rounds of turns of 138 ms in shuffled order; 2 rounds of warm-up before that, not counted."
              ],
              "failed_turns": 1,
              "last_error": "Produce to localhost:9092: timed out",
              "troubles": []
            }
        "#]].assert_eq(&super::render(&super::super::price::tests::prices()));
    }
}
