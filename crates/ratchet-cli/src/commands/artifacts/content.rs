use std::{
    fs::File,
    io::{self, IsTerminal as _},
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;
use ratchet_core::{
    artifact::{Artifact, ArtifactName, ArtifactRef, Origin, Readers, Retention, media_type},
    output::FileValue,
};
use ratchet_engine::ports::{BlobError, Write, WriteOutcome};
use tokio::io::AsyncWriteExt as _;

use super::{find, open, reference, tag::tag_argument, view};
use crate::{
    arguments::CommonArguments, command_error::CommandError, console::Console, driving::person_name,
    exit_code::ExitCode, state::State, words::bytes,
};

/// How long a link is good for.
const LINK_LASTS: Duration = Duration::from_hours(1);

/// Write the content of a version to a file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ratchet artifacts get build/report@latest
  ratchet artifacts get build/report@stable -o old.xml
  ratchet artifacts get build/log@3 -o - | less")]
pub(super) struct GetArguments {
    /// The version: WORKFLOW/NAME@WHICH
    #[arg(value_name = "VERSION", value_parser = reference)]
    version: ArtifactRef,
    /// Where to: a file that is not there yet, or - for standard output. Without it, a file of the version's own name here
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print a link instead, by which whoever has it reads the content for an hour
    #[arg(long, conflicts_with = "output")]
    link: bool,
}

/// Keep a file as a new version
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ratchet artifacts put train/weights model.bin
  curl -s https://example.com/base.tar | ratchet artifacts put build/base - --name base.tar --tag v1")]
pub(super) struct PutArguments {
    /// Under which name: WORKFLOW/NAME
    #[arg(value_name = "ARTIFACT", value_parser = name)]
    artifact: ArtifactName,
    /// The file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What the file is called, where that is not its own name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Give the version this tag
    #[arg(long, value_name = "TAG", value_parser = tag_argument)]
    tag: Option<String>,
    /// How long it is kept: brief, standard or forever
    #[arg(long, value_name = "CLASS", default_value = "standard", value_parser = retention)]
    retention: Retention,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn get(
    arguments: &GetArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = open(common, &arguments.version).await?;
    let version = find(&state, &arguments.version).await?;
    let content = &version.artifact.file.content;
    if arguments.link {
        console.line(&state.blobs.link(&content.digest, LINK_LASTS).await?)?;
        return Ok(ExitCode::Completed);
    }
    let to = match &arguments.output {
        Some(path) if path.as_os_str() == "-" => {
            let mut reader = state.blobs.open(&content.digest).await?;
            let mut out = stream(&io::stdout()).map_err(CommandError::Output)?;
            let copied = tokio::io::copy(&mut reader, &mut out).await;
            return match copied.and(out.flush().await) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(CommandError::ReaderGone),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(BlobError::of_stream(error).into()),
                Err(error) => Err(CommandError::Output(error)),
                Ok(()) => Ok(ExitCode::Completed),
            };
        }
        Some(path) => path.clone(),
        None => PathBuf::from(version.artifact.file.path.rsplit('/').next().unwrap_or_default()),
    };
    state.blobs.get_file(&content.digest, &to).await?;
    console.say(&format!("{} is {}, {}", version.reference(), to.display(), bytes(content.size)));
    Ok(ExitCode::Completed)
}

pub(super) async fn put(
    arguments: &PutArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::open(common)?;
    let is_stream = arguments.file.as_os_str() == "-";
    if is_stream && io::stdin().is_terminal() {
        console.say("reading standard input");
    }
    let put = if is_stream {
        let refused = |source| CommandError::File { path: PathBuf::from("standard input"), source };
        state.blobs.put_stream(&mut stream(&io::stdin()).map_err(refused)?, None).await?
    } else {
        let refused = |source| CommandError::File { path: arguments.file.clone(), source };
        let mut file = tokio::fs::File::open(&arguments.file).await.map_err(refused)?;
        state.blobs.put_stream(&mut file, None).await?
    };
    let own = || arguments.file.file_name().map(|name| Path::new(name).to_string_lossy().into_owned());
    let path = arguments.name.clone().or_else(|| own().filter(|_| !is_stream));
    let path = path.unwrap_or_else(|| arguments.artifact.name.clone());
    let artifact = Artifact {
        name: arguments.artifact.clone(),
        media_type: media_type(&path).to_owned(),
        file: FileValue { path, content: put.content },
        origin: Origin::Person { name: person_name(), request: uuid::Uuid::now_v7().to_string() },
        retention: arguments.retention,
        readers: Readers::All,
        made_at: Timestamp::now(),
    };
    let committed = state.store.commit(vec![Write::Artifact(Box::new(artifact))]).await?;
    let Some(WriteOutcome::Artifact(version)) = committed.applied.into_iter().next() else {
        return Err(CommandError::Engine("the version was not registered".to_owned()));
    };
    if let Some(tag) = &arguments.tag {
        let (artifact, number) = (version.artifact.name.clone(), Some(version.number));
        state.store.commit(vec![Write::TagArtifact { artifact, tag: tag.clone(), number }]).await?;
    }
    if arguments.json {
        console.json(&view::object(&version, arguments.tag.as_slice()))?;
    } else {
        let size = bytes(version.artifact.file.content.size);
        let known = if put.is_new { "" } else { ", whose content was there already" };
        console.line(&format!("{} kept {}, {size}{known}", console.out.good("✓"), version.reference()))?;
    }
    Ok(ExitCode::Completed)
}

/// A stream of this process.
fn stream(of: &impl AsFd) -> io::Result<tokio::fs::File> {
    Ok(tokio::fs::File::from_std(File::from(of.as_fd().try_clone_to_owned()?)))
}

fn name(text: &str) -> Result<ArtifactName, String> {
    text.parse().map_err(|error: ratchet_core::artifact::ReferenceError| error.to_string())
}

fn retention(text: &str) -> Result<Retention, String> {
    let words = Retention::ALL.map(Retention::as_str).join(", ");
    Retention::of(text).ok_or_else(|| format!("'{text}' is none of {words}"))
}
