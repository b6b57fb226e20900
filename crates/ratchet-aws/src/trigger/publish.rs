//! A workflow is published: its text is kept, it has its name and version for good, and it is started when the newest text of its name says.

use ratchet_definition::sources::compile_stored;
use ratchet_engine::ports::BlobClass;

use super::{
    Trigger,
    messages::{Publish, PublishedAnswer},
    refusal::Refusal,
};
use crate::published::{Publication, Published};

/// How often another text may become the newest meanwhile.
const NEWER_MAX: u32 = 10;

impl Trigger {
    /// Publishes a text. The same again changes nothing; another one under the same name and version is refused. `function` is what schedules invoke.
    pub(super) async fn publish(&self, Publish { text }: Publish, function: &str) -> Result<PublishedAnswer, Refusal> {
        let broken = |reason| Refusal::Definition { name: "what is to be published".to_owned(), reason };
        let workflow = compile_stored("the text that was sent", &text).map_err(broken)?;
        let ports = self.deployment.engine.ports();
        let content = ports.blobs.put(text.as_bytes()).await?;
        // It is read for as long as the name stands for it, also where no run is left.
        ports.blobs.retain(&content.digest, BlobClass::Lasting).await?;
        // Before it is published, so that what the service refuses is not.
        self.schedules.make(&workflow, function).await?;
        let publication = self.deployment.published.publish(&workflow, content.digest, ports.clock.now()).await?;
        self.follow_newest(&workflow.name, function).await?;
        let (published, created) = match publication {
            Publication::New(published) => (published, true),
            Publication::Already(published) => (published, false),
            Publication::Taken(known) => {
                let name = format!("{}@{}", known.name, known.version);
                return Err(Refusal::VersionTaken { name, published_at: known.published_at });
            }
        };
        let Published { name, version, digest, published_at } = published;
        Ok(PublishedAnswer { workflow: name, version, digest, published_at, created })
    }

    /// The schedules of a name are those of its newest text, also where somebody else publishes meanwhile.
    async fn follow_newest(&self, name: &str, function: &str) -> Result<(), Refusal> {
        let mut seen: Option<Published> = None;
        for _ in 0..NEWER_MAX {
            let newest = self.deployment.published.find(name, None).await?;
            if newest.is_none() || newest == seen {
                return Ok(());
            }
            if let Some(newest) = &newest {
                let definition = self.definition(newest).await?;
                self.schedules.make(&definition.workflow, function).await?;
                self.schedules.remove_others(&definition.workflow).await?;
            }
            seen = newest;
        }
        Ok(())
    }
}
