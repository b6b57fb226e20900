use ratchet_core::artifact::{ArtifactVersion, Origin, Readers};
use serde_json::{Value, json};

use crate::command_error::CommandError;
use crate::state::State;

/// The tags of a version.
pub(super) async fn tags(state: &State, version: &ArtifactVersion) -> Result<Vec<String>, CommandError> {
    let tags = state.store.artifact_tags(&version.artifact.name).await?;
    Ok(tags.into_iter().filter(|(_, number)| *number == version.number).map(|(tag, _)| tag).collect())
}

/// A version as programs read it.
pub(super) fn object(version: &ArtifactVersion, tags: &[String]) -> Value {
    let artifact = &version.artifact;
    let maker = artifact.origin.maker();
    let by = match &artifact.origin {
        Origin::Run(_) => None,
        Origin::Person { name, .. } => Some(name),
    };
    json!({
        "workflow": artifact.name.workflow,
        "name": artifact.name.name,
        "version": version.number,
        "path": artifact.file.path,
        "digest": artifact.file.content.digest,
        "size": artifact.file.content.size,
        "media_type": artifact.media_type,
        "execution_id": maker.map(|maker| &maker.execution),
        "step": maker.and_then(|maker| maker.step.as_ref()).map(ToString::to_string),
        "cache_key": maker.and_then(|maker| maker.cache_key.as_ref()),
        "put_by": by,
        "made_at": artifact.made_at,
        "tags": tags,
        "retention": artifact.retention.as_str(),
        "readers": match &artifact.readers {
            Readers::All => Value::Null,
            Readers::Only(names) => json!(names),
        },
    })
}

/// Who made a version, in words.
pub(super) fn maker(version: &ArtifactVersion) -> String {
    match &version.artifact.origin {
        Origin::Run(maker) => match &maker.step {
            Some(step) => format!("{} {step}", maker.execution),
            None => maker.execution.to_string(),
        },
        Origin::Person { name, .. } => format!("put by {name}"),
    }
}
