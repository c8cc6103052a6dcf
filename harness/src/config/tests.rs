//! What the file may say, and what is said of what it may not.

use expect_test::{Expect, expect};

use super::Config;

fn read(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a folder for a test");
    let path = folder.path().join(super::FILE);
    std::fs::write(&path, text).expect("a file for a test");
    let shown = path.display().to_string();
    Config::find(Some(&path)).map_err(|error| error.to_string().replace(&shown, super::FILE))
}

fn refused(text: &str, expected: &Expect) {
    expected.assert_eq(&read(text).expect_err("it is wrong"));
}

#[test]
fn what_is_left_out_has_its_usual_value() {
    let config = read("[launch.kafka]\ncommand = ['java', 'kafka.Kafka']").expect("it is right");
    let mut launch = config.launch("kafka").expect("it is there");
    launch.folder = "FOLDER".into();
    expect![[r#"
        Launch {
            name: "launch:kafka",
            command: [
                "java",
                "kafka.Kafka",
            ],
            prepare: [],
            templates: [],
            folder: "FOLDER",
            environment: {},
            address: "127.0.0.1:{port}",
            ready_within: 60s,
            stop_signal: SIGTERM,
            data: None,
            pause: 3s,
        }
    "#]]
    .assert_debug_eq(&launch);
}

#[test]
fn what_is_accepted_is_accepted_of_its_targets() {
    let config = read(
        "[[accept]]\ntarget = 'memory:*'\nproperty = 'no-loss'\nreason = 'known'\n\
         [[accept]]\ntarget = 'kafka://a:1'\nproperty = 'isolation'\nclaim = 'transactional'\n\
         weakness = 'KAFKA-17754'\nreason = 'old'\nlink = 'x'",
    )
    .expect("it is right");
    let of = |target: &str| {
        let target = target.parse().expect("a target");
        let all = config.accepts(&target).map(|one| format!("{one}: {}", one.reason));
        all.collect::<Vec<_>>().join("; ")
    };
    assert_eq!(of("memory:no-dedup"), "no-loss: known");
    assert_eq!(of("kafka://a:1"), "isolation for transactional (KAFKA-17754): old");
    assert_eq!(of("kafka://a:2"), "");
}

#[test]
fn what_is_accepted_wrongly_is_said_with_the_nearest() {
    let accept = |lines: &str| format!("[[accept]]\nreason = 'x'\n{lines}");
    let right = "target = 'memory'\nproperty = 'no-loss'";
    refused(
        &accept("target = 'memory'\nproperty = 'no-los'"),
        &expect![
            "failed to read onceness.toml: line 4: unknown property 'no-los'; did you mean 'no-loss'?"
        ],
    );
    refused(
        &accept("target = 'memory:no-dedupp'\nproperty = 'no-loss'"),
        &expect![
            "failed to read onceness.toml: line 3: unknown defect 'no-dedupp'; did you mean 'no-dedup'?"
        ],
    );
    refused(
        &accept("target = 'kafak://*'\nproperty = 'no-loss'"),
        &expect![
            "failed to read onceness.toml: line 3: unknown target 'kafak'; did you mean 'kafka'?"
        ],
    );
    refused(
        &accept(&format!("{right}\nclaim = 'idempotnt'")),
        &expect![
            "failed to read onceness.toml: line 5: unknown claim 'idempotnt'; did you mean 'idempotent'?"
        ],
    );
    refused(
        &accept(&format!("{right}\nclaim = 'exactly-once'")),
        &expect![
            "failed to read onceness.toml: [[accept]]: property 'no-loss' says nothing of claim 'exactly-once'; it does of at-least-once, idempotent, transactional"
        ],
    );
    refused(
        &accept(&format!("{right}\nweakness = 'KAFKA-1775'")),
        &expect![
            "failed to read onceness.toml: line 5: unknown weakness 'KAFKA-1775'; did you mean 'KAFKA-17754', 'KAFKA-14563' or 'KAFKA-15591'?"
        ],
    );
    refused(
        &accept(&format!("{right}\nlinc = 'x'")),
        &expect!["failed to read onceness.toml: line 5: unknown key 'linc'; did you mean 'link'?"],
    );
    refused(
        &format!("[[accept]]\n{right}"),
        &expect!["failed to read onceness.toml: line 1: missing field `reason`"],
    );
    refused(
        &format!("[[accept]]\nreason = ' '\n{right}"),
        &expect!["failed to read onceness.toml: line 2: it is empty; write why this is accepted"],
    );
}

#[test]
fn paths_are_relative_to_the_file() {
    let config =
        read("[launch.x]\ncommand = ['x']\nfolder = 'bin'\ndata = '/var/x'").expect("it is right");
    let launch = config.launch("x").expect("it is there");
    let home = config.path.as_ref().and_then(|path| path.parent()).expect("it lies somewhere");
    assert_eq!(launch.folder, home.join("bin"));
    assert_eq!(launch.data.as_deref(), Some("/var/x".as_ref()));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    refused(
        "[launch.x]\ncomand = ['x']",
        &expect![
            "failed to read onceness.toml: line 2: unknown key 'comand'; did you mean 'command'?"
        ],
    );
    refused(
        "[lunch.x]\ncommand = ['x']",
        &expect![
            "failed to read onceness.toml: line 1: unknown key 'lunch'; did you mean 'launch'?"
        ],
    );
    refused(
        "[launch.x]\ncommand = ['x']\nready-within = '30'",
        &expect![
            "failed to read onceness.toml: line 3: '30' is no time such as 30s: time unit needed, for example 30sec or 30ms"
        ],
    );
    refused(
        "[launch.x]\ncommand = 'x'",
        &expect![[
            r#"failed to read onceness.toml: line 2: invalid type: string "x", expected a sequence"#
        ]],
    );
    refused(
        "[launch.x]\nfolder = 'x'",
        &expect!["failed to read onceness.toml: line 1: missing field `command`"],
    );
    refused(
        "[launch.x]\ncommand = []",
        &expect![
            "failed to read onceness.toml: [launch.x]: command is empty; write the program and its arguments"
        ],
    );
    refused(
        "[launch.x]\ncommand = ['x']\nstop-signal = 'SIGTREM'",
        &expect![
            "failed to read onceness.toml: line 3: unknown signal 'SIGTREM'; did you mean 'SIGTERM', 'SIGVTALRM' or 'SIGTRAP'?"
        ],
    );
    refused(
        "[launch.x]\ncommand = ['x']\naddress = 'localhost'",
        &expect![
            "failed to read onceness.toml: [launch.x]: address 'localhost' is not HOST:PORT; write 127.0.0.1:{port} for a port that is free"
        ],
    );
    refused(
        "[launch.x]\ncommand = ['x'\n",
        &expect!["failed to read onceness.toml: line 2: unclosed array, expected `]`"],
    );
}

#[test]
fn an_image_is_run_like_that_of_kafka_unless_told_otherwise() {
    let usual = Config::default().container("apache/kafka:4.1.1");
    assert_eq!(usual.environment["KAFKA_PROCESS_ROLES"], "broker,controller");
    let config = read(
        "[container.'redpanda:v25']\nkafka-environment = false\nenvironment = {A = '{port}'}\n\
         command = ['start']\nport = 19092\nmounts = ['conf:/etc/redpanda']\nready-within = '5s'",
    )
    .expect("it is right");
    let mut image = config.container("redpanda:v25");
    let home = config.path.as_ref().and_then(|path| path.parent()).expect("it lies somewhere");
    assert_eq!(image.mounts[0].0, home.join("conf"));
    image.mounts[0].0 = "FOLDER/conf".into();
    expect![[r#"
        Image {
            name: "container:redpanda:v25",
            image: "redpanda:v25",
            command: [
                "start",
            ],
            environment: {
                "A": "{port}",
            },
            port: 19092,
            host: None,
            network: None,
            mounts: [
                (
                    "FOLDER/conf",
                    "/etc/redpanda",
                ),
            ],
            ready_within: 5s,
            pause: 3s,
        }
    "#]]
    .assert_debug_eq(&image);
    assert_eq!(config.container("other").environment, usual.environment);
    refused(
        "[container.x]\nenviroment = {}",
        &expect![
            "failed to read onceness.toml: line 2: unknown key 'enviroment'; did you mean 'environment' or 'kafka-environment'?"
        ],
    );
    refused(
        "[container.x]\nmounts = ['conf']",
        &expect![[
            r#"failed to read onceness.toml: [container."x"]: mount 'conf' is not HERE:INSIDE, such as ./conf:/mnt/conf"#
        ]],
    );
    refused(
        "[container.x]\nport = 0",
        &expect![[
            r#"failed to read onceness.toml: [container."x"]: port is 0; write the port where the broker listens inside"#
        ]],
    );
}

#[test]
fn the_example_says_what_is_usual() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../ci/recipes/onceness.toml");
    let config = Config::find(Some(path.as_ref())).expect("it is right");
    let (whole, least) = (config.launch("kafka"), config.launch("mine"));
    let (whole, least) = (whole.expect("it is there"), least.expect("it is there"));
    assert_eq!(whole.address, least.address);
    assert_eq!(whole.ready_within, least.ready_within);
    assert_eq!(whole.stop_signal, least.stop_signal);
    assert_eq!(whole.pause, least.pause);
}

#[test]
fn a_launch_that_is_not_there_is_said_with_the_nearest() {
    let config = read("[launch.kafka]\ncommand = ['x']").expect("it is right");
    let error = config.launch("kafak").expect_err("it is not there");
    assert!(error.ends_with(": unknown launch 'kafak'; did you mean 'kafka'?"), "{error}");
    let error = Config::default().launch("kafka").expect_err("there is no file");
    expect!["launch:kafka needs [launch.kafka] in onceness.toml, and there is no such file here; write one, or name it by --config FILE"].assert_eq(&error);
}
