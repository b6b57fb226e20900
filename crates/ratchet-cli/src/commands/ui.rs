use std::{
    env, fs,
    io::{IsTerminal as _, Write as _},
    process::{Command, Stdio},
};

use clap::Args;
use tempfile::NamedTempFile;

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    state::State,
    ui::{Server, serve},
};

/// Show executions as pages in a browser of this machine, as they go on
#[derive(Debug, Args)]
#[command(after_help = "\
The address that is printed lets a browser in: it has a token, which is another one with each start. The server answers on 127.0.0.1 only, and to no page but its \
own. What is done on a page is done by the command for it, which is shown and goes on when this one ends.

Examples:
  ratchet ui
  ratchet ui --port 8040 --no-open      to be reached through `ssh -L 8040:127.0.0.1:8040`")]
pub(crate) struct UiArguments {
    /// Listen on this port of 127.0.0.1; 0 for any that is free
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Open no browser
    #[arg(long)]
    no_open: bool,
}

pub(super) async fn run(
    arguments: &UiArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::open(common)?;
    let server = Server::bind(arguments.port).await.map_err(|error| CommandError::ArgumentValue {
        message: format!("port {} of 127.0.0.1 cannot be listened on: {error}", arguments.port),
        hint: "name another with --port, or none for any that is free".to_owned(),
    })?;
    let address = server.address();
    console.line(&address)?;
    console.say("the pages are there until Ctrl-C");
    let opened = (!arguments.no_open && std::io::stdout().is_terminal()).then(|| open(&address)).flatten();
    tokio::select! {
        served = serve(server, state) => served?,
        _ = tokio::signal::ctrl_c() => {}
    }
    drop(opened);
    Ok(ExitCode::Completed)
}

/// Opens a browser, where there is a screen. It is given a file that leads on to the address, and that is there as long as it is held: arguments of a process can be read
/// by everybody on the machine.
fn open(address: &str) -> Option<NamedTempFile> {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let has_screen = cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
    if !has_screen {
        return None;
    }
    let mut file = tempfile::Builder::new().prefix("ratchet-ui-").suffix(".html").tempfile().ok()?;
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0; url={address}\"><title>Ratchet</title>\n"
    );
    file.write_all(page.as_bytes()).ok()?;
    let path = fs::canonicalize(file.path()).ok()?;
    let mut command = Command::new(opener);
    command.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Without a program that opens it, the address is there to be copied.
    command.spawn().ok()?;
    Some(file)
}
