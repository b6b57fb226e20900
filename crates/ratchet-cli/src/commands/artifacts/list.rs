use std::{collections::HashMap, fmt::Write as _};

use clap::Args;
use jiff::Timestamp;
use ratchet_core::artifact::{ArtifactName, ArtifactVersion};
use ratchet_engine::ports::ArtifactFilter;
use serde_json::Value;

use super::view;
use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    state::State,
    words::{ago, bytes},
};

/// List versions, the newest of a name first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ratchet artifacts list
  ratchet artifacts list build/report
  ratchet artifacts list --all --json")]
pub(super) struct ListArguments {
    /// Only those of this workflow, or of one name: WORKFLOW/NAME
    #[arg(value_name = "ARTIFACT")]
    of: Option<String>,
    /// Every version, not only the newest of each name
    #[arg(short, long)]
    all: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &ListArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let mut filter = ArtifactFilter::default();
    if let Some(of) = &arguments.of {
        match of.parse::<ArtifactName>() {
            Ok(name) => (filter.workflow, filter.name) = (Some(name.workflow), Some(name.name)),
            Err(_) => filter.workflow = Some(of.clone()),
        }
    }
    let of_one_name = filter.name.is_some();
    let Some(state) = State::any(common).await? else {
        return nothing(arguments, console);
    };
    let mut found = Vec::new();
    let mut tags: HashMap<ArtifactName, Vec<(String, u64)>> = HashMap::new();
    for version in versions(&state, &filter, arguments.all || of_one_name).await? {
        let name = &version.artifact.name;
        if !tags.contains_key(name) {
            tags.insert(name.clone(), state.store.artifact_tags(name).await?);
        }
        let own = tags[name].iter().filter(|(_, number)| *number == version.number);
        let own: Vec<String> = own.map(|(tag, _)| tag.clone()).collect();
        found.push((version, own));
    }
    if found.is_empty() {
        return nothing(arguments, console);
    }
    if arguments.json {
        let all: Vec<Value> = found.iter().map(|(version, tags)| view::object(version, tags)).collect();
        console.json(&all)?;
    } else {
        console.text(&table(&found, console, Timestamp::now()))?;
    }
    Ok(ExitCode::Completed)
}

fn nothing(arguments: &ListArguments, console: Console) -> Result<ExitCode, CommandError> {
    if arguments.json {
        console.json(&Value::Array(Vec::new()))?;
    } else {
        console.say("no artifacts; a step keeps a file as one with `artifact: true`");
    }
    Ok(ExitCode::Completed)
}

/// By workflow and name; of a name the newest first, or only that.
async fn versions(state: &State, filter: &ArtifactFilter, all: bool) -> Result<Vec<ArtifactVersion>, CommandError> {
    let (mut found, mut after): (Vec<ArtifactVersion>, Option<(ArtifactName, u64)>) = (Vec::new(), None);
    loop {
        let page = state.store.artifacts(filter, after.as_ref(), 200).await?;
        after = page.rows.last().map(|version| (version.artifact.name.clone(), version.number));
        for version in page.rows {
            match found.last_mut() {
                Some(last) if !all && last.artifact.name == version.artifact.name => *last = version,
                _ => found.push(version),
            }
        }
        if !page.more {
            break;
        }
    }
    let key = |version: &ArtifactVersion| (version.artifact.name.clone(), std::cmp::Reverse(version.number));
    found.sort_by_key(key);
    Ok(found)
}

fn table(found: &[(ArtifactVersion, Vec<String>)], console: Console, now: Timestamp) -> String {
    let names: Vec<String> = found.iter().map(|(version, _)| version.reference().to_string()).collect();
    let makers: Vec<String> = found.iter().map(|(version, _)| view::maker(version)).collect();
    let widest = |texts: &[String]| texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
    let (name_width, maker_width) = (widest(&names), widest(&makers));
    let mut table = String::new();
    for (((version, tags), name), maker) in found.iter().zip(&names).zip(&makers) {
        let size = bytes(version.artifact.file.content.size);
        let age = console.out.dim(&ago(version.artifact.made_at, now));
        let tags = if tags.is_empty() { String::new() } else { format!("  {}", tags.join(" ")) };
        let _ = writeln!(table, "{name:<name_width$}  {size:>8}  {maker:<maker_width$}  {age}{tags}");
    }
    table
}
