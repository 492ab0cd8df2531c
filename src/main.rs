//! `ctrflame`: container-aware flame graphs from the host, in one command.

mod chosen;
mod cli;
mod convert;
mod cost;
mod debuginfod;
mod diagnose;
mod doctor;
mod ended;
mod failure;
mod how;
mod huge_pages;
mod input;
mod json;
mod jvm;
mod kallsyms;
mod kernel;
mod lookup;
mod naming;
mod output;
mod pipeline;
mod ps;
mod record;
mod recording_files;
mod report;
mod stacks;
mod table;
mod target;
mod text;
mod top;
mod unfinished;
mod vmlinux;

use clap::Parser;
use profiler::jvm::worker;
use std::io;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: huge_pages::HugePages = huge_pages::HugePages;

fn main() -> ExitCode {
    // Wrong usage: clap says what is wrong and ends with status 2.
    let cli = cli::Cli::parse();
    let result = match cli.command {
        cli::Command::Record(args) => record::run(&args),
        cli::Command::Convert(args) => convert::run(&args),
        cli::Command::Diagnose(args) => diagnose::run(&args),
        cli::Command::Jvm(args) => jvm::run(&args),
        cli::Command::Ps(args) => ps::run(&args),
        cli::Command::Top(args) => top::run(&args),
        cli::Command::Doctor(args) => doctor::run(&args),
        cli::Command::JvmWorker => worker::serve(io::stdin().lock(), io::stdout().lock())
            .map(|()| ExitCode::SUCCESS)
            .map_err(failure::Failure::Worker),
    };
    match result {
        Ok(status) => status,
        Err(error) => report::failure(&error),
    }
}
