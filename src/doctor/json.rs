//! What the doctor found, for programs. The keys and the words are listed in docs/permissions.md.

use profiler::live::Survey;
use profiler::live::gate::Standing;
use serde::Serialize;

#[derive(Serialize)]
struct Answer<'a> {
    verdict: &'static str,
    records: Records,
    gates: Vec<Gate<'a>>,
    opens_all: Option<&'a str>,
}

#[derive(Serialize)]
struct Records {
    host: bool,
    container: bool,
    command: bool,
    command_without_kernel: bool,
}

#[derive(Serialize)]
struct Gate<'a> {
    gate: &'static str,
    standing: &'static str,
    found: &'a str,
    needed: &'a str,
    opens: Option<&'a str>,
    without: Option<&'a str>,
}

/// One object, indented, with a newline at its end.
pub(super) fn of(survey: &Survey) -> String {
    let verdict = match survey.standing() {
        Standing::Closed => "fails",
        Standing::Limits => "works_with_limits",
        Standing::Open | Standing::Unknown => "works",
    };
    let gates = survey.findings.iter().map(|finding| Gate {
        gate: finding.gate.name(),
        standing: finding.standing.name(),
        found: &finding.found,
        needed: &finding.needed,
        opens: finding.opens.as_deref(),
        without: finding.without.as_deref(),
    });
    let answer = Answer {
        verdict,
        records: Records {
            host: survey.records.host,
            container: survey.records.container,
            command: survey.records.command,
            command_without_kernel: survey.records.command_without_kernel,
        },
        gates: gates.collect(),
        opens_all: survey.opens_all.as_deref(),
    };
    let mut text =
        serde_json::to_string_pretty(&answer).expect("strings, booleans and lists are JSON");
    text.push('\n');
    text
}
