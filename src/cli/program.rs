//! The program: its arguments, the command they name, and the exit code that comes of it.

use std::process::ExitCode;

use clap::Parser as _;

use super::args::{Args, Command, PasswordArgs};
use super::exit::{Exit, Failure};
use super::{
    check, clients, demo, documents, emulator, evidence, generate, output, password, policy, runtime, serve, sessions,
};
use crate::telemetry;

/// Runs the program.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // help and version are answers, not mistakes
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return exit.into();
        }
    };
    match run(args) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            output::note(&sentence(&failure.text));
            failure.exit.into()
        }
    }
}

fn run(args: Args) -> Result<(), Failure> {
    telemetry::start(&args.built_in_log(), args.log(), args.log_format)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    // the only global: one TLS provider for the whole process. A second installation, in tests, changes nothing
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match args.command {
        Command::Demo(args) => runtime::block_on(demo::run(&args)),
        Command::Serve(args) => runtime::block_on(serve::run(&args)),
        Command::Documents(args) => runtime::block_on(documents::run(&args)),
        Command::KnownHosts(args) => clients::known_hosts(&args),
        Command::SshConfig(args) => runtime::block_on(clients::ssh_config(&args)),
        Command::UserCa(args) => clients::user_ca(&args),
        Command::Emulator(args) => runtime::block_on(emulator::run(&args)),
        Command::Policy(args) => policy::run(&args.command),
        Command::Reload(args) => policy::run_reload(&args),
        Command::Verify(args) => evidence::run_verify(&args),
        Command::Evidence(args) => runtime::block_on(evidence::run(&args)),
        Command::Sessions(args) => runtime::block_on(sessions::run(*args)),
        Command::Check(args) => runtime::block_on(check::run(&args)),
        Command::Password(PasswordArgs {}) => password::run(),
        Command::Completions(args) => generate::completions(&args),
        Command::Man(args) => generate::man(&args),
    }
}

fn sentence(text: &str) -> String {
    if output::colour() { format!("\x1b[1;31mportcullis:\x1b[0m {text}") } else { format!("portcullis: {text}") }
}
