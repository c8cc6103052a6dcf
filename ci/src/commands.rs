//! The exact command lines of the gate, all of them here.
//!
//! Words are separated by spaces. `{target}` is the build folder, `{address}` the broker's host:port, `{out}` a folder
//! that is deleted when the command succeeds.

/// A named command line.
pub(crate) struct Line {
    /// What the step is called.
    pub(crate) name: &'static str,
    /// What is run.
    pub(crate) words: &'static str,
}

const fn line(name: &'static str, words: &'static str) -> Line {
    Line { name, words }
}

/// What needs no broker but the one in memory, in order.
pub(crate) const PLAIN: &[Line] = &[
    line("format", "cargo fmt --all --check"),
    line("lints", "cargo clippy --workspace --all-targets -- -D warnings"),
    line("tests", "cargo test --workspace"),
    line("docs", "env RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps"),
    line("release build", "cargo build --release --package onceness"),
    line(
        "certify memory",
        "{target}/release/onceness certify memory --cases 20000 --seed 1 --out {out}",
    ),
    // What ci/detection.md says, once more; a test compares the page with the catalogue.
    line("selftest", "{target}/release/onceness selftest --seed 1"),
];

/// That a killed gate leaves nothing behind; it starts a broker of its own. The gate does not ask for Go, nor for the time
/// that Nisshi takes to build.
pub(crate) const LEAVES_NOTHING: Line = line(
    "leaves nothing",
    "cargo test --package onceness-ci -- --ignored --skip kfake --skip nisshi",
);

/// The tests that read ONCENESS_KAFKA; they have `kafka` in their names.
pub(crate) const KAFKA_TESTS: Line =
    line("tests on kafka", "cargo test --workspace kafka -- --ignored");

/// The tests that start Kafka themselves, by the file that ONCENESS_CONFIG names. One at a time: they look at what is left.
pub(crate) const LAUNCH_TESTS: Line = line(
    "tests that launch kafka",
    "cargo test --package onceness launch:: -- --ignored --test-threads 1",
);

/// The certificate of a real Apache Kafka. KAFKA-17754 is a weakness of the protocol before KIP-890. Enough cases
/// that every property of every claim is tested.
pub(crate) const CERTIFY_KAFKA: Line = line(
    "certify kafka",
    "{target}/release/onceness certify kafka://{address} --cases 1000 --seed 1 --accept KAFKA-17754 --out {out}",
);

/// The tests that read ONCENESS_CONTAINER and need a Docker engine; they have `container` in their names.
pub(crate) const CONTAINER_TESTS: Line = line(
    "tests in containers",
    "cargo test --package onceness-adapters --package onceness container -- --ignored",
);
