//! Containers that tests make up.

use super::row::{Row, Used};
use super::sampler::Measured;
use profiler::container::{Container, Names};
use std::path::Path;
use std::time::SystemTime;

/// A container of docker's with this name that used so much, in percent of a CPU.
pub(super) fn row(name: &str, cpu_percent: Option<f64>) -> Row {
    let digits: String = name
        .bytes()
        .cycle()
        .take(32)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let names = Names::load(Path::new("/nonexistent"));
    let path = format!("/docker/{digits}");
    let mut container = Container::identify(&path, &names).expect("docker's shape");
    container.name.name = Some(name.to_owned());
    Row {
        tag: container.tag(),
        container,
        used: cpu_percent.map(|cpu_percent| Used {
            cpu_percent: Some(cpu_percent),
            ..Used::default()
        }),
    }
}

pub(super) fn measured(rows: Vec<Row>) -> Measured {
    Measured {
        at: SystemTime::UNIX_EPOCH,
        rows,
        host: None,
    }
}
