//! What the tests of the agents share.

use std::{collections::BTreeMap, fs, path::Path};

use ratchet_core::{execution::TraceParent, workflow::SecurityProfile};
use ratchet_engine::{
    masks::Masks,
    ports::{AgentRequest, AttemptFiles, Progress, StopSignal},
};
use tokio::sync::watch;

/// A request in `place`: its workspace is `place/workspace`, its own folder `place/attempt`.
pub(crate) fn request(place: &Path, step: &str) -> AgentRequest {
    let (workspace, directory) = (place.join("workspace"), place.join("attempt"));
    fs::create_dir_all(&workspace).unwrap();
    fs::create_dir_all(&directory).unwrap();
    AgentRequest {
        step: step.to_owned(),
        attempt: 1,
        round: 1,
        resume: None,
        prompt: "write it".to_owned(),
        profile: SecurityProfile::Restricted,
        model: None,
        max_turns: None,
        max_cost_usd: None,
        allowed_tools: None,
        output_schema: None,
        append_system_prompt: None,
        timeout: None,
        stall_timeout: None,
        files: AttemptFiles::in_folder(workspace),
        readable: Vec::new(),
        transcript: directory.join("transcript.jsonl"),
        directory,
        environment: BTreeMap::new(),
        trace: TraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        masks: Masks::default(),
        progress: Progress::default(),
    }
}

/// A signal that never tells to stop.
pub(crate) fn stop() -> StopSignal {
    watch::channel(None).1
}
