//! The checkout of a run whose workflow names a repository.

use ratchet_engine::{RepositorySource, StartRequest};
use ratchet_workspace::{Origin, checkout};
use serde_json::json;

use super::{DriveError, LocalEngine, in_background};
use crate::{
    directory,
    error::LocalError,
    place::{Checkout, LocalPlace},
};

impl LocalEngine {
    /// Makes the checkout that a run works on, and lets its row say that it does.
    pub(super) async fn check_out(
        &self,
        repository: RepositorySource,
        place: &mut LocalPlace,
        request: &mut StartRequest,
    ) -> Result<(), DriveError> {
        let RepositorySource { url, reference, credentials } = repository;
        let secret = match credentials {
            Some(name) => Some(self.secrets.get(&name).await.map_err(LocalError::from)?),
            None => None,
        };
        let secret = secret.map(|secret| secret.trim_end_matches(['\r', '\n']).to_owned());
        let (folder, run) = (self.state.checkout(&request.execution), self.state.execution(&request.execution));
        let (origin, to) = (Origin { url, reference }, folder.clone());
        let (commit, url) = in_background(move || {
            directory::create(&run)
                .map_err(|error| LocalError::state_directory(&run, "hold the files of a run", error))?;
            Ok((checkout(&origin, secret.as_deref(), &to)?, origin.url))
        })
        .await?;
        place.workspace = folder;
        place.checkout = Some(Checkout { url, commit });
        if let Some(fields) = request.options.place.as_object_mut() {
            fields.insert("workspace".to_owned(), json!(place.workspace));
            fields.insert("checkout".to_owned(), json!(place.checkout));
        }
        Ok(())
    }
}
