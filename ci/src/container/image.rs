//! The image of a release of Apache Kafka, made of what the machine has.
//!
//! It is made once an engine, and again whenever its recipe is another: the name of the recipe is a label of the image.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use anyhow::Context;

use super::engine::Engine;
use super::parts::{self, Part};
use crate::cache;
use crate::kafka::{self, Version};
use crate::undertaker::Undertaker;

const LABEL: &str = "onceness.recipe";

/// Where Kafka lies in the image, as in the published one.
const HOME: &str = "/opt/kafka";

/// The configuration of a container that is told nothing: one node, as in the published image.
const DEFAULT_PROPERTIES: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
advertised.listeners=PLAINTEXT://localhost:9092
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=/tmp/kraft-combined-logs
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
";

/// The name of the image of that release, made now if the engine does not have it.
pub(super) fn ensure(
    version: &Version,
    engine: &Engine<'_>,
    undertaker: &Undertaker,
) -> anyhow::Result<String> {
    let name = format!("onceness/kafka:{version}");
    let kafka = kafka::installation(version, undertaker)?;
    let script = run_script(&kafka);
    let recipe = recipe(&script);
    if label_of(&name, engine).is_some_and(|found| found == recipe) {
        return Ok(name);
    }
    let started = Instant::now();
    let folder = undertaker.folder_in(&cache::place("")?)?;
    let tar = folder.path().join("image.tar");
    let file = File::create(&tar).with_context(|| format!("failed to create {}", tar.display()))?;
    parts::write(&parts(&kafka, script)?, file)
        .with_context(|| format!("failed to write {}", tar.display()))?;
    let changes = [
        format!("LABEL {LABEL}={recipe}"),
        format!("WORKDIR {HOME}"),
        "EXPOSE 9092".to_owned(),
        format!("CMD [\"/bin/sh\", \"{HOME}/run\"]"),
    ];
    let mut import = engine.docker(&["import"]);
    for change in &changes {
        import.args(["--change", change]);
    }
    import.arg(&tar).arg(&name);
    cache::run(&import, folder.path(), undertaker)
        .with_context(|| format!("failed to make the image {name}"))?;
    eprintln!("made the image {name} in {:.1} s", started.elapsed().as_secs_f64());
    Ok(name)
}

/// What the published image does when it starts. The set-up writes the configuration that the environment asks for, and
/// formats the storage; a container that starts again finds both.
fn run_script(kafka: &kafka::Installation) -> String {
    let java = format!("/opt/java/bin/java {}", kafka.java_options.join(" "));
    let class_path = &kafka.class_path;
    format!(
        r#"set -e
: "${{CLUSTER_ID:=5L6g3nShT-eMCtK--X86sw}}"
export CLUSTER_ID
cd {HOME}
if [ ! -e config/done ]; then
  {java} -cp {class_path} kafka.docker.KafkaDockerWrapper setup --default-configs-dir /etc/kafka/docker \
    --mounted-configs-dir /mnt/shared/config --final-configs-dir {HOME}/config
  : > config/done
fi
exec {java} $KAFKA_HEAP_OPTS $KAFKA_OPTS -cp {class_path} kafka.Kafka config/server.properties
"#
    )
}

fn parts(kafka: &kafka::Installation, script: String) -> anyhow::Result<Vec<Part>> {
    let mut all = parts::java()?;
    for program in ["sh", "sleep"] {
        all.extend(parts::program(program)?);
    }
    all.extend(kafka.files().map(|(path, name)| Part::copy(path, format!("{HOME}/{name}"))));
    all.push(Part::text(format!("{HOME}/run"), script));
    all.push(Part::text("/etc/kafka/docker/server.properties", DEFAULT_PROPERTIES));
    // The set-up copies them; the log is that of the simple binding, which reads neither.
    for name in ["log4j.properties", "tools-log4j.properties", "log4j2.yaml", "tools-log4j2.yaml"] {
        all.push(Part::text(format!("/etc/kafka/docker/{name}"), ""));
    }
    for folder in ["/tmp", "/mnt/shared/config", &format!("{HOME}/config")] {
        all.push(Part::Folder(folder.to_owned()));
    }
    Ok(all)
}

/// What is in the image and may change from one state of this program, or of the machine, to the next.
fn recipe(script: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (script, DEFAULT_PROPERTIES, parts::java_home().ok()).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn label_of(image: &str, engine: &Engine<'_>) -> Option<String> {
    let format = format!("{{{{index .Config.Labels \"{LABEL}\"}}}}");
    let output = engine.docker(&["image", "inspect", "--format", &format, image]).output().ok()?;
    let text =
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned());
    text.map(|text| text.trim().to_owned())
}
