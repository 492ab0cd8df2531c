//! The flags, and nothing else: what was typed, checked as far as it can be without asking the system.

mod convert;
mod jvm;
mod ps;
mod record;
mod values;

pub(crate) use convert::{
    CallGraphArg, ConvertArgs, DEFAULT_INPUT, LayerArg, SourceArgs, WeightArg,
};
pub(crate) use jvm::{JvmArgs, JvmCommand};
pub(crate) use ps::PsArgs;
pub(crate) use record::{EventArg, JvmArg, RecordArgs};
pub(crate) use values::{RingSize, TimeArg};

use clap::{Parser, Subcommand};

/// Container-aware CPU flame graphs from the host, in one command.
#[derive(Debug, Parser)]
#[command(name = "ctrflame", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sample stacks and draw them, each under its container
    #[command(after_help = "\
Examples:
  ctrflame record -G web -- sleep 30           one container, by name or id prefix, for 30 s
  ctrflame record -a --duration 30s            the whole host
  ctrflame record -o hot.svg -- ./program      one program, from its exec on
  ctrflame record -p 4242 -o - --duration 5s   a process, the picture to standard output")]
    Record(Box<RecordArgs>),
    /// Draw a recording that perf made, here or elsewhere, or a text of stacks
    #[command(after_help = "\
Examples:
  ctrflame convert perf.data -o out.svg
  perf record -o - -a -g -- sleep 10 | ctrflame convert - -o out.svg
  perf script | ctrflame convert - -o out.svg           text, by its content
  ctrflame convert stacks.folded.gz -o out.svg
  ctrflame convert --time +10,+20 --by container,comm,tid    ten seconds, thread by thread")]
    Convert(Box<ConvertArgs>),
    /// Ask JVMs from outside, in containers and on the host: nothing is loaded into them
    #[command(after_help = "\
Examples:
  ctrflame jvm status           all JVMs: release, frame pointers, whether they can be asked
  ctrflame jvm status web       those of one container
  ctrflame jvm map web          names of their code, for perf and others")]
    Jvm(JvmArgs),
    /// List the containers that run, with their pids on either side and what they share with the host
    #[command(after_help = "\
Examples:
  ctrflame ps                 a row a container, nested ones below theirs
  ctrflame ps 28321           the container of a process or thread of the host, and its pid in there
  ctrflame ps -G web          the processes of a container, by both pids
  ctrflame ps -G web 17       the process that calls itself 17 in there")]
    Ps(PsArgs),
    /// The process that asks one JVM
    #[command(name = crate::jvm::WORKER, hide = true)]
    JvmWorker,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn containers_come_as_a_list_or_repeated_and_the_command_keeps_its_own_flags() {
        let cli = Cli::try_parse_from([
            "ctrflame", "record", "-G", "a,b", "-G", "c", "--", "sleep", "-x",
        ]);
        let Ok(Cli {
            command: Command::Record(args),
        }) = cli
        else {
            panic!("not accepted")
        };
        assert_eq!(args.containers, ["a", "b", "c"]);
        assert_eq!(args.argv, ["sleep", "-x"]);
        assert!(Cli::try_parse_from(["ctrflame", "record", "-p", "1", "-G", "a"]).is_err());
        assert!(
            Cli::try_parse_from(["ctrflame", "record", "--duration", "1s", "--", "true"]).is_err()
        );
    }
}
