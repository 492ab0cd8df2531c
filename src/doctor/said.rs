//! What the doctor found, for people: the verdict first, then a line a gate, the worst first.

use collapse::clean_line;
use profiler::live::Survey;
use profiler::live::gate::{Finding, Standing};
use std::cmp::Reverse;

/// Whether signs are coloured; they are words all the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Yes,
    No,
}

/// The longest line: none of ours comes near.
const LINE_CHARS_MAX: usize = 600;

/// Behind the sign and the name of a gate.
const INDENT: usize = 31;

/// All lines, cleaned.
pub(super) fn of(survey: &Survey, colour: Colour) -> String {
    let mut lines = vec![clean(&verdict(survey)), String::new()];
    let mut findings: Vec<&Finding> = survey.findings.iter().collect();
    findings.sort_by_key(|finding| Reverse(finding.standing));
    for finding in findings {
        lines.extend(gate(finding, colour));
    }
    if let Some(opens_all) = &survey.opens_all {
        lines.push(String::new());
        lines.push(clean(&format!("all at once: {opens_all}")));
    }
    lines.join("\n") + "\n"
}

fn clean(line: &str) -> String {
    clean_line(line, LINE_CHARS_MAX).into_owned()
}

fn verdict(survey: &Survey) -> String {
    let of = |standing| {
        survey
            .findings
            .iter()
            .filter(move |finding| finding.standing == standing)
    };
    match survey.standing() {
        Standing::Closed => {
            let reasons: Vec<&str> = of(Standing::Closed)
                .map(|finding| finding.found.as_str())
                .collect();
            format!("recording will not work: {}", reasons.join("; "))
        }
        Standing::Limits => {
            let names: Vec<&str> = of(Standing::Limits)
                .map(|finding| finding.gate.name())
                .collect();
            format!(
                "recording will work, with these limits: {}",
                names.join(", ")
            )
        }
        Standing::Open | Standing::Unknown => "recording will work".to_owned(),
    }
}

fn gate(finding: &Finding, colour: Colour) -> Vec<String> {
    let (sign, sgr) = match finding.standing {
        Standing::Open => ("ok", "32"),
        Standing::Limits => ("limits", "33"),
        Standing::Closed => ("closed", "31"),
        Standing::Unknown => ("?", "2"),
    };
    // Padded first: an escape has no width.
    let sign = format!("{sign:<6}");
    let sign = match colour {
        Colour::Yes => format!("\x1b[{sgr}m{sign}\x1b[0m"),
        Colour::No => sign,
    };
    let name = format!("{:<21}", finding.gate.name());
    let mut lines = vec![format!("  {sign}  {name}{}", clean(&finding.found))];
    if matches!(finding.standing, Standing::Open | Standing::Unknown) {
        return lines;
    }
    let mut more = |what: &str, text: &str| {
        lines.push(format!("{:INDENT$}{what:<9}{}", "", clean(text)));
    };
    more("needed", &finding.needed);
    if let Some(opens) = &finding.opens {
        more("opens", opens);
    }
    if let Some(without) = &finding.without {
        more("without", without);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler::live::survey;

    #[test]
    fn colours_are_all_that_a_terminal_adds() {
        let survey = survey();
        let coloured = of(&survey, Colour::Yes);
        let mut plain = coloured.replace("\x1b[0m", "");
        for sgr in ["32", "33", "31", "2"] {
            plain = plain.replace(&format!("\x1b[{sgr}m"), "");
        }
        assert_ne!(coloured, plain);
        assert_eq!(plain, of(&survey, Colour::No));
    }

    #[test]
    fn what_was_found_cannot_write_to_the_terminal() {
        let mut survey = survey();
        for finding in &mut survey.findings {
            finding.standing = Standing::Closed;
            finding.found = "\x1b[2J\nrecording will work".to_owned();
            finding.opens = Some("\r`rm`".to_owned());
        }
        let said = of(&survey, Colour::No);
        assert!(!said.contains(['\x1b', '\r']), "{said:?}");
        let starts = said.lines().filter(|line| line.starts_with("recording"));
        assert_eq!(starts.count(), 1);
    }
}
